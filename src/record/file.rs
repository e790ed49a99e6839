//! OTLP JSON lines in and out.
