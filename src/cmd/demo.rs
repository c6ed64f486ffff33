//! `palk demo`: a whole cluster on this machine, with a story that ends in a prompt.
//!
//! ```text
//!   folder ──▶ nodes ──▶ server ──▶ sign-up ──┬── story ──▶ prompt (on a terminal) ──▶ end
//!                                             ├── --tour: a longer story ─────────────▶ end
//!                                             └── --exec CMD ─────────────────────────▶ end
//! ```
//!
//! Invariant: whatever happens, no process is left and, unless it is to be kept, no data; see
//! `resources` for how. What failed keeps its logs.

mod blocks;
mod child;
mod cluster;
mod picture;
mod profile;
mod prompt;
mod resources;
mod story;
mod tour;

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use self::cluster::Cluster;
use self::profile::Profile;
use self::prompt::Prompt;
use self::resources::Resources;
use self::story::{Original, Story, roll_call, store};
use crate::cmd::client::password::Source;
use crate::cmd::client::session::{self, LocalFiles};
use crate::cmd::client::settings::{Settings, config_place};
use crate::cmd::env::{Env, duration};
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::{Code, Error};
use crate::core::io::reason;
use crate::core::path::{UserName, printable};
use crate::core::remote::Remote;
use crate::core::types::VersionId;

/// The account that the demo makes.
const USER: &str = "demo";

/// Between two looks at whether the user's command has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);

const AFTER_HELP: &str = "\
CMD finds PALK_SERVER, PALK_FINGERPRINT, PALK_USER and PALK_PASSWORD_FILE set, and this program as
palk:
  palk demo --exec 'palk client store photo.jpg && palk client inf'";

/// See it work: four nodes and a server on this machine, a file, two nodes lost and given back
///
/// On a terminal it ends with a prompt to try things at. Nothing is left behind.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Demo {
    /// The file to store [default: a picture that the demo makes]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// Keep the folder with all data and logs
    #[arg(long)]
    keep: bool,

    /// Show more, with a line of explanation at each step, and end without a prompt
    #[arg(long)]
    tour: bool,

    /// Run a shell command with the cluster in place of the story, and end with its exit status
    #[arg(long, value_name = "CMD", conflicts_with = "tour")]
    exec: Option<OsString>,
}

impl Demo {
    /// Runs it from the first process to the last.
    ///
    /// # Errors
    /// The first thing that is not as it should be; the status of `--exec`'s command.
    pub fn run(self, env: &mut Env) -> Result<(), Stop> {
        let given = self.file.as_deref().map(|file| Original::given(file, env)).transpose()?;
        self.tell(env, "Palk demo: four storage nodes and a server, all on this machine\n")?;
        let resources = Resources::build(self.keep)?;
        resources.end_on_interrupt(env);
        let done = self.play(given, &resources, env);
        match done {
            Err(Stop::Failed(failure)) => {
                resources.keep();
                resources.end();
                let logs = resources.folder().join("logs");
                let logs = format!("The logs are kept:  {}", printable(&logs.to_string_lossy()));
                let hint = failure.hint.map_or(logs.clone(), |hint| format!("{hint}\n  {logs}"));
                Err(Failure { code: failure.code, text: failure.text, hint: Some(hint) }.into())
            }
            other => {
                let farewell = resources.end();
                // If nobody reads it, that is no failure of the demo's.
                let told = self.tell(env, &farewell);
                other.and(told)
            }
        }
    }

    /// The story's lines are what the demo is for; beside a command's output they are remarks.
    fn tell(&self, env: &mut Env, line: &str) -> Result<(), Stop> {
        if self.exec.is_some() {
            env.note(line);
            return Ok(());
        }
        env.data(line)?;
        env.flush()
    }

    /// Can anybody use the cluster from another terminal, or after the demo?
    fn is_open_to_others(&self, env: &Env) -> bool {
        env.is_attended() && !self.tour || self.keep || self.exec.is_some()
    }

    fn play(
        &self,
        given: Option<Original>,
        resources: &Resources,
        env: &mut Env,
    ) -> Result<(), Stop> {
        let begun = Instant::now();
        let mut stage = Stage::set(resources)?;
        self.tell(env, &roll_call(&stage.cluster))?;
        let took = duration(begun.elapsed());
        self.tell(env, &format!("All up after {took}; user {USER} has signed up"))?;
        if self.is_open_to_others(env) {
            self.save_profile(&stage, resources, env);
        }
        if let Some(command) = &self.exec {
            if let Some(original) = &given {
                let (_, summary) = store(original, &mut stage.remote, env)?;
                self.tell(env, &summary)?;
            }
            return exec(command, &stage, resources, env);
        }
        let original = match given {
            Some(original) => original,
            None => Original::made(stage.cluster.folder())?,
        };
        let Stage { cluster, remote, user, .. } = &mut stage;
        Story { env, cluster, remote, user, tour: self.tour }.tell(&original)?;
        if self.tour || !env.is_attended() {
            return self.tell(env, &format!("\nThat took {}.", duration(begun.elapsed())));
        }
        self.tell(env, &invitation(&stage, resources))?;
        stage.prompt(env)
    }

    /// Without a profile all else works: what goes wrong is a remark.
    fn save_profile(&self, stage: &Stage, resources: &Resources, env: &mut Env) {
        let Some(config) = config_place(env) else { return };
        let config = env.at(&config);
        // With the lock held: what is saved is removed, whatever comes between.
        let mut inner = resources.open();
        let (server, password_file) = (stage.cluster.server(), &stage.password_file);
        let fingerprint = stage.remote.fingerprint();
        match Profile::save(&config, server, USER, password_file, fingerprint.as_ref()) {
            Ok(profile) => inner.profile = Some(profile),
            Err(why) => {
                drop(inner);
                env.note(&format!("No profile for other terminals was saved: {why}"));
            }
        }
    }
}

/// A cluster in which a user has signed up.
struct Stage {
    cluster: Cluster,
    remote: Remote,
    user: UserName,
    password_file: PathBuf,
}

impl Stage {
    fn set(resources: &Resources) -> Result<Stage, Stop> {
        let mut cluster = Cluster::start(resources)?;
        cluster.start_server()?;
        let (password, password_file) = make_password(cluster.folder())?;
        let mut remote = Remote::connect(cluster.server())?;
        remote.sign_up(USER, &password)?;
        let user = UserName::parse(USER).map_err(Error::from)?;
        Ok(Stage { cluster, remote, user, password_file })
    }

    fn prompt(self, env: &mut Env) -> Result<(), Stop> {
        let Stage { mut cluster, remote, password_file, .. } = self;
        let settings = Settings {
            server: cluster.server().to_owned(),
            fingerprint: remote.fingerprint(),
            fingerprint_is_given: true,
            user: Some(USER.to_owned()),
            password: Some(Source::File(password_file)),
            password_given: true,
        };
        let mut prompt = Prompt { cluster: &mut cluster };
        session::resume(remote, settings, LocalFiles::AsNamed, &mut prompt, env)
    }
}

/// Runs the user's command and waits for its end, which becomes the demo's.
fn exec(command: &OsString, stage: &Stage, resources: &Resources, env: &Env) -> Result<(), Stop> {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command);
    shell.env("PALK_SERVER", stage.cluster.server()).env("PALK_USER", USER);
    shell.env("PALK_PASSWORD_FILE", &stage.password_file);
    // Given, so that a server which is gone in a moment is not remembered.
    shell.envs(stage.remote.fingerprint().map(|print| ("PALK_FINGERPRINT", print.to_string())));
    shell.env_remove("PALK_PASSWORD_COMMAND").env_remove("PALK_PROFILE");
    if let Some(path) = path_with(stage.cluster.program(), env) {
        shell.env("PATH", path);
    }
    let child = shell.spawn().map_err(|error| {
        Failure::new(Code::Unexpected, format!("cannot start the shell sh: {}", reason(&error)))
    })?;
    resources.open().command = Some(child);
    loop {
        let ended = resources.open().command.as_mut().map(|child| child.try_wait());
        match ended {
            Some(Ok(None)) => thread::sleep(LOOK_EVERY),
            Some(Ok(Some(status))) if status.success() => return Ok(()),
            Some(Ok(Some(status))) => return Err(Stop::Ended(status_of(status))),
            Some(Err(_)) | None => {
                let text = "the command's end was missed";
                return Err(Failure::new(Code::Unexpected, text).into());
            }
        }
    }
}

/// What is said before the prompt.
fn invitation(stage: &Stage, resources: &Resources) -> String {
    let cluster = &stage.cluster;
    let program = printable(&quoted(&cluster.program().to_string_lossy()));
    let client = match &resources.open().profile {
        Some(profile) => format!("--profile {}", profile.name()),
        None => {
            let file = quoted(&stage.password_file.to_string_lossy());
            format!("--server {} --user {USER} --password-file {}", cluster.server(), file)
        }
    };
    format!(
        "\nNow it is yours. Files are taken from the current folder and come back to it.\n  \
           STR FILE, RTV FILE, DEL FILE, INF   store, retrieve, delete, list\n  \
           kill N, start N, status             take a node away, give it back, look\n  \
           quit or Ctrl-C                      end everything\n\
         In another terminal:\n  \
           {program} client {client} store ~/photo.jpg\n"
    )
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    shlex::try_quote(word).map_or_else(|_| word.to_owned(), |word| word.into_owned())
}

/// A random password, in a file that is the user's alone.
fn make_password(folder: &Path) -> Result<(String, PathBuf), Failure> {
    let password = VersionId(rand::random()).to_string();
    let path = folder.join("password");
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&path).and_then(|mut file| writeln!(file, "{password}"));
    written.map_err(|error| {
        let text = format!("cannot write {}: {}", path.display(), reason(&error));
        Failure::new(Code::LocalFile, text)
    })?;
    Ok((password, path))
}

/// The search path with this program's folder first.
fn path_with(program: &Path, env: &Env) -> Option<OsString> {
    let path = env.variable("PATH").unwrap_or_default();
    let folders =
        program.parent().map(Path::to_owned).into_iter().chain(std::env::split_paths(&path));
    std::env::join_paths(folders).ok()
}

/// An exit status as a shell gives it.
fn status_of(status: ExitStatus) -> u8 {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return u8::try_from(128 + signal).unwrap_or(u8::MAX);
    }
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
