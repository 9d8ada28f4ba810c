//! The units of `deploy/`, started by a real systemd: what they forbid is nothing that the daemon needs.
//!
//! A systemd of the test's own runs in namespaces of its own, so the machine's services, files and ports are not touched.
//! That needs root and an installed systemd; without them nothing is run, and that is said.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::client;
use crate::command::{Folder, text};

/// A systemd that runs one unit.
struct Manager {
    child: Child,
    /// The process that is its PID 1, as seen from here.
    init: u32,
    group: PathBuf,
}

impl Manager {
    /// None where the machine has no systemd, or does not allow a second one.
    fn boot(unit: &str, folder: &Path) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        let groups =
            mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|of| of[2] == "cgroup2");
        let root = fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
        let (true, true, Some(groups)) = (Path::new("/usr/lib/systemd/systemd").exists(), root, groups)
        else {
            println!(
                "not run: a systemd is not installed, or this is not root, or there are no control groups"
            );
            return None;
        };
        // A group of its own, so that the new systemd's root is empty but for itself.
        let group = Path::new(groups[1]).join(client::unique("outlierd-test"));
        if let Err(error) = fs::create_dir(&group) {
            println!("not run: no control group can be made: {error}");
            return None;
        }
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let child = Command::new("sh")
            .args(["-c", "echo $$ >\"$0/cgroup.procs\" && exec unshare --fork --pid --mount --uts --ipc --net --cgroup \
                 --kill-child=KILL sh \"$@\""])
            .args([&group, &here.join("tests/systemd/boot.sh"), &here.join("deploy").join(unit)])
            .args([Path::new(env!("CARGO_BIN_EXE_outlierd")), &folder.join("etc"), &folder.join("work")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("said")).unwrap())
            .spawn()
            .unwrap();
        let mut manager = Self { child, init: 0, group };
        let up = manager.is_up();
        if !up {
            let said = fs::read_to_string(folder.join("said")).unwrap();
            println!("not run: the machine does not allow a second systemd: {said}");
        }
        up.then_some(manager)
    }

    /// Waits until the systemd answers. False where it ends instead, or never does.
    fn is_up(&mut self) -> bool {
        let start = client::now();
        while start.elapsed() < client::PATIENCE && matches!(self.child.try_wait(), Ok(None)) {
            if let Some(init) = child_of(self.child.id(), "systemd") {
                self.init = init;
                let state = text(&self.run(&["systemctl", "is-system-running"]).stdout);
                if ["initializing", "starting", "running", "degraded"].contains(&state.trim()) {
                    return true;
                }
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        false
    }

    /// A command among its processes.
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.init.to_string(), "-m", "-p", "-u", "-i", "-n", "-C"]);
        command.args(arguments).stdin(Stdio::null()).output().unwrap()
    }

    fn property(&self, unit: &str, name: &str) -> String {
        text(&self.run(&["systemctl", "show", "--value", "-p", name, unit]).stdout).trim().to_owned()
    }

    /// Waits until a property is so; tells the unit's log where it never is.
    fn until(&self, unit: &str, name: &str, wanted: &str) {
        let start = client::now();
        loop {
            let found = self.property(unit, name);
            if found == wanted {
                return;
            }
            let log = || text(&self.run(&["journalctl", "--no-pager", "-n", "60", "-o", "cat"]).stdout);
            assert!(
                start.elapsed() < client::PATIENCE,
                "{unit}: {name} is {found:?}, not {wanted:?}\n{}",
                log()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // With its PID 1 go all its processes and mounts.
        self.child.kill().ok();
        self.child.wait().ok();
        // They are empty when the last process has been reaped.
        for _ in 0..100 {
            if remove_groups(&self.group).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn remove_groups(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)?.flatten().filter(|entry| entry.path().is_dir()) {
        remove_groups(&entry.path())?;
    }
    fs::remove_dir(folder)
}

/// A child of a process, by its name.
fn child_of(parent: u32, name: &str) -> Option<u32> {
    fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let id = entry.file_name().to_str()?.parse::<u32>().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let (of, rest) = stat.rsplit_once(") ")?;
        let parents = rest.split(' ').nth(1)?.parse::<u32>().ok()?;
        (parents == parent && of.ends_with(&format!("({name}"))).then_some(id)
    })
}

/// A line of `/proc/PID/status`.
fn status(id: u32, name: &str) -> String {
    let all = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = all.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').split_whitespace().next().unwrap().to_owned()
}

#[test]
fn a_real_systemd_starts_watches_restarts_and_stops_the_units() {
    let folder = Folder::new();
    let lines: Vec<String> =
        (0..2_000).map(|n| format!("user {} signed in after {} ms\n", n % 40, n % 30)).collect();
    let mut log = lines.concat();
    log.push_str("kernel panic: not syncing, attempted to kill init\n");
    for name in ["etc", "work"] {
        fs::create_dir(folder.0.join(name)).unwrap();
    }
    folder.file("etc/app.log", log.as_bytes());
    folder.file(
        "etc/outlierd.toml",
        b"[source]\nkind = \"file\"\npaths = [\"/etc/outlierd/app.log\"]\nfollow = true\n\
          [sink]\nkind = \"file\"\npath = \"/var/lib/outlierd/alerts.jsonl\"\n[detect]\nwarmup = 300\n",
    );
    for unit in ["outlierd.service", "outlierd-gpu.service"] {
        let Some(manager) = Manager::boot(unit, &folder.0) else { return };
        // Active means that the daemon said it was ready.
        manager.until(unit, "ActiveState", "active");
        manager.until(unit, "StatusText", "watching");
        let id = client::wait_for("the daemon", || child_of(manager.init, "outlierd"));
        assert_ne!(status(id, "Uid"), "0");
        let rights = ["CapEff", "NoNewPrivs", "Seccomp"].map(|name| status(id, name));
        assert_eq!(rights, ["0000000000000000", "1", "2"].map(str::to_owned), "{unit}");
        let found = client::wait_for("an alert", || {
            let said = text(&manager.run(&["cat", "/var/lib/outlierd/alerts.jsonl"]).stdout);
            said.contains("kernel panic").then_some(said)
        });
        assert!(found.lines().count() >= 1);
        let health = manager.run(&["/usr/bin/outlierd", "health"]);
        assert!(health.status.success(), "{}", text(&health.stderr));
        // One that stands still is killed and started again.
        assert_eq!(manager.property(unit, "NRestarts"), "0");
        assert!(Command::new("kill").args(["-STOP", &id.to_string()]).status().unwrap().success());
        manager.until(unit, "NRestarts", "1");
        manager.until(unit, "ActiveState", "active");
        assert!(manager.run(&["systemctl", "stop", unit]).status.success());
        let end = ["ActiveState", "Result", "ExecMainStatus"].map(|name| manager.property(unit, name));
        assert_eq!(end, ["inactive", "success", "0"].map(str::to_owned), "{unit}");
    }
}
