use super::*;

#[test]
fn run_is_parsed_alike_both_ways() {
    for words in [
        "trace run hello-world",
        "trace run --verbose --color never -e A=1 -e B --name=x -u 1:2 --cold --network host debian:12 sh -c --rm",
        "trace run --rm --hub localhost:5000 -- image -x --verbose",
    ] {
        let words: Vec<_> = words.split(' ').collect();
        let OnlyRun { verbose, color, command: RunCommand::Run(args) } = OnlyRun::try_parse_from(&words).unwrap();
        let all = Cli::try_parse_from(&words).unwrap();
        assert_eq!(
            format!("{:?}", Cli { verbose, color, command: Command::Run(args) }),
            format!("{all:?}"),
            "{words:?}"
        );
    }
}
