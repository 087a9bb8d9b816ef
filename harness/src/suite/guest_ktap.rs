// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reads the KTAP document that a program in the guest prints.

use super::verdict::{Status, Subtest};

/// Reads a document: its results, and what is wrong with it as a document. Lines that belong to a
/// nested document are what was said before the result that sums it up.
pub fn parse(text: &str) -> (Vec<Subtest>, Vec<String>) {
    let mut results = Vec::new();
    let mut mistakes = Vec::new();
    let mut said = Vec::new();
    let (mut begun, mut planned) = (false, None);
    for line in text.lines() {
        if line == "KTAP version 1" || line == "TAP version 13" {
            begun = true;
        } else if let Some(count) = line.strip_prefix("1..") {
            planned = count.split_whitespace().next().and_then(|n| n.parse().ok());
        } else if let Some((good, rest)) = result_line(line) {
            let (number, subtest) = result(good, rest, std::mem::take(&mut said));
            results.push(subtest);
            if number != Some(results.len()) {
                mistakes.push(format!("result {} is out of order: {line}", results.len()));
            }
        } else if let Some(why) = line.strip_prefix("Bail out!") {
            mistakes.push(format!("it gave up:{why}"));
        } else if !line.trim().is_empty() {
            said.push(line.trim_start_matches("# ").to_owned());
        }
    }
    if !begun {
        mistakes.push("its output is no KTAP document".to_owned());
    } else if planned != Some(results.len()) {
        let planned = planned.map_or_else(|| "an unknown number of".to_owned(), |n| n.to_string());
        mistakes.push(format!(
            "it planned {planned} results and gave {}",
            results.len()
        ));
    }
    (results, mistakes)
}

fn result_line(line: &str) -> Option<(bool, &str)> {
    let good = line.strip_prefix("ok ").map(|rest| (true, rest));
    good.or_else(|| line.strip_prefix("not ok ").map(|rest| (false, rest)))
}

fn result(good: bool, rest: &str, mut said: Vec<String>) -> (Option<usize>, Subtest) {
    let (number, name) = rest.split_once(' ').unwrap_or((rest, ""));
    let name = name.trim_start_matches("- ");
    let (name, directive) = name.split_once(" #").unwrap_or((name, ""));
    let directive = directive.trim();
    let skip = directive
        .split_at_checked(4)
        .filter(|(word, _)| word.eq_ignore_ascii_case("skip"));
    let status = match skip {
        Some((_, why)) => {
            said.push(why.trim().to_owned());
            Status::Skipped
        }
        None if good => Status::Passed,
        None if directive == "TIMEOUT" => Status::TimedOut,
        None => Status::Failed,
    };
    let subtest = Subtest {
        name: name.trim().to_owned(),
        status,
        said,
    };
    (number.parse().ok(), subtest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_results_skips_and_what_was_said() {
        let text = "KTAP version 1\n1..3\nok 1 one\n# poll.c:3: x is 1, not 2\nnot ok 2 - two\n\
                    ok 3 three # SKIP no slow device\n";
        let (results, mistakes) = parse(text);
        assert_eq!(mistakes, Vec::<String>::new());
        let names: Vec<_> = results.iter().map(|result| result.name.as_str()).collect();
        assert_eq!(names, ["one", "two", "three"]);
        let statuses: Vec<_> = results.iter().map(|result| result.status).collect();
        assert_eq!(statuses, [Status::Passed, Status::Failed, Status::Skipped]);
        assert_eq!(results[1].said, ["poll.c:3: x is 1, not 2"]);
        assert_eq!(results[2].said, ["no slow device"]);
    }

    #[test]
    fn parse_nested_results_are_no_results_of_their_own() {
        let (results, mistakes) =
            parse("KTAP version 1\n1..1\n  KTAP version 1\n  1..1\n  ok 1 in\nok 1 out\n");
        assert_eq!((results.len(), mistakes.len()), (1, 0));
    }

    #[test]
    fn parse_document_that_ends_early_or_is_none_is_a_mistake() {
        for text in [
            "KTAP version 1\n1..2\nok 1 one\n",
            "ok\n",
            "",
            "KTAP version 1\n1..1\nok 2 x\n",
        ] {
            assert!(!parse(text).1.is_empty(), "{text:?}");
        }
    }
}
