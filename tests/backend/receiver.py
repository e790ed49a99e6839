"""An OTLP receiver with the protobuf and gRPC of Python: nothing of it is shared with the program under test.

receiver.py DIRECTORY [CERTIFICATE KEY [CLIENT_AUTHORITY]]

Writes `ports` (gRPC and HTTP) when it listens, and a line of JSON for each request into `requests`. Each line of
`script`, if there is one, is what the next request gets in place of a good answer:

  CODE [milliseconds]   a gRPC status, with RetryInfo if a time is given (HTTP: 503)
  PARTIAL n words       n items rejected, with a message
  HANG                  nothing
"""

import gzip
import json
import os
import ssl
import sys
import threading
import time
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as traces_grpc

directory = sys.argv[1]
lock = threading.Lock()


def hexed(value):
    """Ids as OTLP has them in JSON: hex, not the base64 of protobuf's own JSON."""
    import base64
    if isinstance(value, list):
        for one in value:
            hexed(one)
    elif isinstance(value, dict):
        for key, one in value.items():
            if key in ("traceId", "spanId", "parentSpanId"):
                value[key] = base64.b64decode(one).hex()
            else:
                hexed(one)
    return value


def note(protocol, headers, size, request, text=None):
    """Notes a request; gives what the script says about it."""
    body = json.loads(text) if text else hexed(json_format.MessageToDict(request, use_integers_for_enums=True))
    line = {"protocol": protocol, "headers": headers, "size": size, "body": body}
    with lock:
        with open(os.path.join(directory, "requests"), "a") as out:
            out.write(json.dumps(line) + "\n")
        try:
            with open(os.path.join(directory, "script")) as file:
                script = file.read().splitlines()
        except FileNotFoundError:
            return []
        with open(os.path.join(directory, "script"), "w") as file:
            file.write("".join(line + "\n" for line in script[1:]))
        return script[0].split(" ") if script else []


def partial(answer, words):
    field = answer.partial_success
    if hasattr(field, "rejected_spans"):
        field.rejected_spans = int(words[1])
    else:
        field.rejected_data_points = int(words[1])
    field.error_message = " ".join(words[2:])
    return answer


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def retry_info(ms):
    """A google.rpc.Status with a RetryInfo, by hand."""
    delay = b"\x08" + varint(ms // 1000) + b"\x10" + varint(ms % 1000 * 1000000)
    info = b"\x0a" + varint(len(delay)) + delay
    url = b"type.googleapis.com/google.rpc.RetryInfo"
    detail = b"\x0a" + varint(len(url)) + url + b"\x12" + varint(len(info)) + info
    return b"\x1a" + varint(len(detail)) + detail


def serve(answer):
    class Service:
        def Export(self, request, context):
            words = note("grpc", dict(context.invocation_metadata()), request.ByteSize(), request)
            if not words:
                return answer()
            if words[0] == "HANG":
                time.sleep(30)
            if words[0] == "PARTIAL":
                return partial(answer(), words)
            if len(words) > 1:
                context.set_trailing_metadata((("grpc-status-details-bin", retry_info(int(words[1]))),))
            context.abort(getattr(grpc.StatusCode, words[0]), "as the script says")
    return Service()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        size = len(body)
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        kind = {"/v1/traces": (traces.ExportTraceServiceRequest, traces.ExportTraceServiceResponse),
                "/v1/metrics": (metrics.ExportMetricsServiceRequest, metrics.ExportMetricsServiceResponse)}
        if self.path not in kind:
            return self.reply(404, "text/plain", b"no such path")
        request, answer = kind[self.path]
        headers = {name.lower(): value for name, value in self.headers.items()}
        if self.headers["Content-Type"] == "application/json":
            note("http", headers, size, None, body)
            return self.reply(200, "application/json", b"{}")
        parsed = request()
        parsed.ParseFromString(body)
        words = note("http", headers, size, parsed)
        if words and words[0] == "PARTIAL":
            return self.reply(200, "application/x-protobuf", partial(answer(), words).SerializeToString())
        if words:
            return self.reply(503, "text/plain", b"as the script says")
        return self.reply(200, "application/x-protobuf", answer().SerializeToString())

    def reply(self, status, kind, body):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
traces_grpc.add_TraceServiceServicer_to_server(serve(traces.ExportTraceServiceResponse), server)
metrics_grpc.add_MetricsServiceServicer_to_server(serve(metrics.ExportMetricsServiceResponse), server)
web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
if len(sys.argv) > 2:
    certificate, key = sys.argv[2:4]
    authority = sys.argv[4] if len(sys.argv) > 4 else None
    read = lambda path: open(path, "rb").read() if path else None
    credentials = grpc.ssl_server_credentials([(read(key), read(certificate))], read(authority), bool(authority))
    port = server.add_secure_port("127.0.0.1:0", credentials)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if authority:
        context.load_verify_locations(authority)
        context.verify_mode = ssl.CERT_REQUIRED
    web.socket = context.wrap_socket(web.socket, server_side=True)
else:
    port = server.add_insecure_port("127.0.0.1:0")
server.start()
with open(os.path.join(directory, "ports.new"), "w") as out:
    out.write(f"{port} {web.server_port}")
os.rename(os.path.join(directory, "ports.new"), os.path.join(directory, "ports"))
web.serve_forever()
