//! The block that repeats the output of a failed vertex at the end.

use super::trace::Failure;

const RULE: &str = "------";

/// Writes one block per failure.
pub fn blocks(failures: &[Failure]) -> String {
    let mut out = String::new();
    for failure in failures {
        out.push_str(&format!("{RULE}\n > {}:\n", failure.name));
        for line in &failure.log {
            out.push_str(line);
            out.push('\n');
        }
        out.push_str(&format!("{RULE}\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_names_the_vertex_and_repeats_its_output() {
        let failure = Failure {
            name: "[2/2] RUN exit 3".into(),
            error: "exit code: 3".into(),
            log: vec!["0.121 one".into(), "0.122 two".into()],
        };
        assert_eq!(
            blocks(&[failure]),
            "------\n > [2/2] RUN exit 3:\n0.121 one\n0.122 two\n------\n"
        );
        assert_eq!(blocks(&[]), "");
    }
}
