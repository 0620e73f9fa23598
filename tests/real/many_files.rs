//! Many small files in both directions: thousands of requests at once must not lock both sides.

use std::fs;
use std::path::Path;
use std::time::Duration;

use bkhost_test_support::source::bare;
use bkhost_test_support::space;

use crate::harness::{Remote, unique};

const FOLDERS: usize = 200;
const FILES: usize = 200;
const ROUNDS: usize = 6;

#[test]
fn forty_thousand_files_go_up_and_come_down_six_times() {
    let space = space::folder("bkm");
    let remote = Remote::new();
    let folder = bare(
        &remote.context,
        "source",
        "FROM scratch\nARG ROUND\nCOPY files /files\n",
    );
    let files = space.path().join("context");
    fs::create_dir(&files).unwrap();
    fs::copy(folder.join("Dockerfile"), files.join("Dockerfile")).unwrap();
    fill(&files.join("files"));
    for round in 0..ROUNDS {
        // Another first file each time: everything is sent, nothing comes from a cache.
        fs::write(files.join("files/first"), unique()).unwrap();
        let out = space.path().join(format!("out{round}"));
        let output = format!("type=local,dest={}", out.display());
        let built = remote
            .build(&files)
            .args(["--output", &output])
            .limit(Duration::from_secs(90));
        built.run().succeeds();
        assert_eq!(count(&out.join("files")), FOLDERS * FILES + 1);
        fs::remove_dir_all(&out).unwrap();
    }
}

fn fill(root: &Path) {
    for folder in 0..FOLDERS {
        let folder = root.join(format!("folder{folder}"));
        fs::create_dir_all(&folder).unwrap();
        for file in 0..FILES {
            fs::write(folder.join(format!("file{file}")), format!("content {file}\n")).unwrap();
        }
    }
}

fn count(root: &Path) -> usize {
    let mut files = 0;
    for entry in fs::read_dir(root).unwrap().flatten() {
        files += if entry.file_type().unwrap().is_dir() {
            count(&entry.path())
        } else {
            1
        };
    }
    files
}
