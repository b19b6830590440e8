//! `pointillist publish` and `unpublish`: what running servers serve, changed from outside.

use super::Partial;
use anyhow::{bail, ensure};
use serde_json::{Value, json};
use std::io::Write;
use std::time::Duration;

/// Opening a dataset takes a moment; one in a store that does not answer takes the server's retries.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

/// Have running servers serve a dataset of their datasets' folder, in the place of what has its name
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  pointillist publish ships --to http://10.0.0.1:8081 \\
      --to http://10.0.0.2:8081
  pointillist publish ships-2026-11 --as ships \\
      --to http://127.0.0.1:8081 --key pk_...
The folder is one inside of the servers' datasets.folder, which may be a place in a store; the address is that of --admin-listen. An admin's
key is given by --key or in POINTILLIST_KEY. Servers are told one after the other. Exit code 3 if some of them did not do it.")]
pub struct PublishArgs {
    /// The dataset, by the name of its folder in the servers' datasets.folder
    pub dataset: String,

    /// Name in URLs [default: the folder's]
    #[arg(long = "as", value_name = "NAME")]
    pub name: Option<String>,

    #[command(flatten)]
    pub servers: Servers,
}

/// Have running servers no longer serve a dataset that was published; its files stay
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:
  pointillist unpublish ships --to http://10.0.0.1:8081 \\
      --to http://10.0.0.2:8081
An admin's key is given by --key or in POINTILLIST_KEY. Exit code 3 if some of the servers did not do it.")]
pub struct UnpublishArgs {
    /// The dataset's name in URLs
    pub dataset: String,

    #[command(flatten)]
    pub servers: Servers,
}

/// Servers, and who asks.
#[derive(clap::Args, Debug)]
pub struct Servers {
    /// A server's admin address, as it says at its start: http://HOST:PORT. May be given several times
    #[arg(long = "to", value_name = "URL", required = true)]
    pub addresses: Vec<String>,

    /// An admin's key
    #[arg(long, value_name = "KEY", env = "POINTILLIST_KEY", hide_env_values = true)]
    pub key: String,
}

pub fn publish(args: PublishArgs) -> anyhow::Result<()> {
    let name = args.name.as_deref().unwrap_or(&args.dataset);
    let body = json!({ "name": name, "folder": args.dataset });
    args.servers.tell("POST", "/admin/datasets", Some(&body), &format!("{name} is served"))
}

pub fn unpublish(args: UnpublishArgs) -> anyhow::Result<()> {
    let name = &args.dataset;
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    ensure!(is_name, "'{name}' is no name of a dataset: one has letters, digits, '-', '_' and '.' only");
    args.servers.tell("DELETE", &format!("/admin/datasets/{name}"), None, &format!("{name} is no longer served"))
}

impl Servers {
    /// Tells every server, and says what each did.
    fn tell(&self, method: &str, path: &str, body: Option<&Value>, done: &str) -> anyhow::Result<()> {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(ANSWER_TIME_MAX)).build();
        let agent = ureq::Agent::from(config);
        let mut failed = 0;
        for address in &self.addresses {
            let result = self.tell_one(&agent, address.trim_end_matches('/'), method, path, body);
            let mut stdout = std::io::stdout().lock();
            match result {
                Ok(()) => writeln!(stdout, "{address}: {done}")?,
                Err(error) => {
                    failed += 1;
                    eprintln!("{address}: {error:#}");
                }
            }
        }
        match failed {
            0 => Ok(()),
            all if all == self.addresses.len() => bail!("no server did it"),
            some => Err(Partial(format!("{some} of {} servers did not do it: tell them again", self.addresses.len())).into()),
        }
    }

    fn tell_one(&self, agent: &ureq::Agent, address: &str, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<()> {
        let request = ureq::http::Request::builder().method(method).uri(format!("{address}{path}")).header("x-api-key", &self.key);
        let mut answer = agent.run(request.body(body.map_or_else(String::new, Value::to_string))?)?;
        if answer.status().is_success() {
            return Ok(());
        }
        // A problem says in `detail` what is wrong.
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        let detail = serde_json::from_str(&text).ok().and_then(|problem: Value| Some(problem["detail"].as_str()?.to_owned()));
        bail!("{}: {}", answer.status(), detail.unwrap_or_else(|| "it is no pointillist's admin address".to_owned()))
    }
}
