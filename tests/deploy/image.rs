//! What the image holds, started from a directory: by another user, with nothing to write to.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::process::free_port;
use crate::support::wait_until;
use crate::{SOON, deploy, read};

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    String::from_utf8_lossy(&id.stdout).trim() == "0"
}

/// As the image does: nobody in particular, who may get no more rights. Who is not root is nobody already.
fn as_nobody(program: &Path, arguments: &[&str]) -> Command {
    let mut command = match is_root() {
        true => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=10001", "--regid=10001", "--clear-groups", "--no-new-privs"]).arg(program);
            command
        }
        false => Command::new(program),
    };
    command.args(arguments).env_clear().env("PATH", "/usr/bin:/bin");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
fn the_built_tree_runs_without_root_and_without_a_place_to_write() {
    let root = tempfile::tempdir().unwrap();
    // Others have to get there.
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let tree = root.path().join("tree");
    let built =
        Command::new(deploy("build.sh")).arg(&tree).arg(env!("CARGO_BIN_EXE_sidestream")).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let port = free_port();
    let plugins = tree.join("usr/local/lib/sidestream/plugins");
    let yaml = format!(
        "worker: {{bootstrap.servers: '127.0.0.1:1', listeners: 'http://127.0.0.1:{port}', plugin.path: '{}'}}
connectors: {{a: {{connector.class: s3-sink, topics: t, flush.size: 1, s3.bucket.name: b, s3.region: us-east-1}}}}
",
        plugins.display()
    );
    let config = tree.join("etc/sidestream/connectors.yaml");
    fs::write(&config, yaml).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
    let program = tree.join("usr/local/bin/sidestream");
    let mut worker =
        as_nobody(&program, &["run", config.to_str().unwrap()]).current_dir(&tree).spawn().unwrap();
    let address = format!("127.0.0.1:{port}");
    let probe = |what: &str| {
        as_nobody(&program, &["probe", what, "--address", &address, "--timeout", "2"])
            .status()
            .unwrap()
            .code()
    };
    wait_until(SOON, "it is alive", || (probe("live") == Some(0)).then_some(()));
    assert_eq!(probe("ready"), Some(3), "its Kafka is away");
    if is_root() {
        let status = fs::read_to_string(format!("/proc/{}/status", worker.id())).unwrap();
        assert!(status.contains("Uid:\t10001\t10001"), "{status}");
    }
    assert!(Command::new("kill").args(["-TERM", &worker.id().to_string()]).status().unwrap().success());
    let ended = wait_until(SOON, "it ends", || worker.try_wait().unwrap());
    assert_eq!(ended.code(), Some(0));
    let newer = ["-newer", config.to_str().unwrap(), "-type", "f"];
    let written = Command::new("find").arg(&tree).args(newer).output().unwrap();
    assert!(written.stdout.is_empty(), "it wrote: {}", String::from_utf8_lossy(&written.stdout));
}

#[test]
fn the_dockerfile_builds_by_the_script_and_runs_what_it_made() {
    let text = read("Dockerfile");
    for part in [
        "deploy/build.sh /image",
        "COPY --from=build /image/ /",
        "USER 10001:10001",
        "HEALTHCHECK",
        r#"ENTRYPOINT ["/usr/local/bin/sidestream"]"#,
    ] {
        assert!(text.contains(part), "{part}");
    }
    assert!(!text.contains(":latest"), "images have versions");
    let cargo = fs::read_to_string(deploy("../Cargo.toml")).unwrap();
    let needed =
        cargo.lines().find_map(|l| l.strip_prefix("rust-version = \"")).unwrap().trim_end_matches('"');
    let image = text.lines().find_map(|l| l.strip_prefix("FROM rust:")).unwrap();
    let number =
        |text: &str| text.split(['.', '-']).take(2).map(|n| n.parse::<u32>().unwrap()).collect::<Vec<_>>();
    assert!(number(image) >= number(needed), "{image} is older than {needed}");
}
