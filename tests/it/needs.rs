//! What `make` says where something is missing: one line, with the remedy.

use std::os::unix::fs::symlink;
use std::process::Command;
use tempfile::tempdir;

#[test]
fn what_is_missing_is_said_in_one_line() {
    let folder = tempdir().unwrap();
    // All that there is: a shell's few tools.
    for tool in ["sed", "ls"] {
        let found = ["/usr/bin", "/bin"].map(|place| format!("{place}/{tool}")).into_iter().find(|path| std::path::Path::new(path).exists());
        symlink(found.unwrap(), folder.path().join(tool)).unwrap();
    }
    let need = |what: &str| {
        let output = Command::new("/bin/sh").args(["scripts/need", what]).env_clear().env("PATH", folder.path()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{what}: {said}");
        said
    };
    for (what, words) in [
        ("cargo", ["missing: cargo", "https://rustup.rs"]),
        ("cc", ["missing: a C compiler", "build-essential"]),
        ("node", ["missing: Node 20", "https://nodejs.org"]),
        ("apt", ["missing: apt-get", "by hand"]),
        ("anything", ["missing: 'anything'", "not something this script knows"]),
    ] {
        let said = need(what);
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    }
    std::fs::write(folder.path().join("node"), "#!/bin/sh\necho v18.20.1\n").unwrap();
    std::fs::write(folder.path().join("npm"), "#!/bin/sh\n").unwrap();
    for tool in ["node", "npm"] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path().join(tool), mode).unwrap();
    }
    assert!(need("node").contains("this is Node 18"));
}
