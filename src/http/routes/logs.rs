//! `/services/{name}/logs`.

use http_types::StatusCode;
use jiff::Timestamp;
use tide::Response;

use super::super::call::Call;
use super::super::extract::{self, Rules};
use super::super::respond::Head;
use super::super::{respond, stream};
use super::outcome::{told, within};
use crate::api::logs::{Direction, LINES, LogEntry, LogPage, Logs, PRIORITIES, USUAL_LINES};
use crate::problem::{Code, Problem};
use crate::services::log::{self, By, Query};

fn micros(time: Option<Timestamp>, name: &str) -> Result<Option<u64>, Problem> {
    let early = |_| Problem::new(Code::BadRequest, format!("`{name}` is before 1970"));
    time.map(|time| u64::try_from(time.as_microsecond())).transpose().map_err(early)
}

pub async fn history(mut call: Call) -> Result<Response, Problem> {
    let name = call.service()?;
    let wanted: Logs =
        extract::fields(&mut call.request, Rules { path: Some(("name", name.as_str())), ..Rules::default() }).await?;
    let lines = usize::try_from(within(wanted.lines, "lines", LINES, USUAL_LINES)?).unwrap_or(usize::MAX);
    let priority = within(wanted.priority, "priority", PRIORITIES, *PRIORITIES.end())?;
    if wanted.follow && wanted.until.is_some() {
        return Err(Problem::new(Code::BadRequest, "`follow` goes on without an end, and `until` sets one"));
    }
    let release = match wanted.release {
        Some(number) => Some(
            number
                .to_string()
                .parse()
                .map_err(|error: crate::names::NameError| Problem::new(Code::BadRequest, error.to_string()))?,
        ),
        None => None,
    };
    let mut log = call.state().services().service_log(&name, release).await.map_err(told)?;
    let since = micros(wanted.since, "since")?;
    log.query = Query {
        by: By::Actor(call.actor()?),
        since: since.max(log.query.since),
        until: micros(wanted.until, "until")?,
        // A browser that lost its stream asks for what follows the last line that it got.
        cursor: call.header("last-event-id").filter(|_| wanted.follow).map(str::to_owned).or(wanted.cursor),
        direction: match wanted.direction {
            Direction::Forward => log::Direction::Forward,
            Direction::Backward => log::Direction::Backward,
        },
        lines,
        grep: wanted.grep,
        priority: (priority < *PRIORITIES.end()).then(|| u8::try_from(priority).unwrap_or(7)),
        ..log.query
    };
    let accepts = call.header("accept").unwrap_or_default().to_owned();
    let host = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
    if wanted.follow {
        let lines = call.state().services().follow_log(log).await.map_err(told)?;
        let lease = call.lease().await?;
        return Ok(if accepts.contains("text/plain") {
            stream::text(lines, lease, move |entry| entry.short(&host))
        } else {
            stream::events(lines, lease)
        });
    }
    let page = call.state().services().log_page(log).await.map_err(told)?;
    let entries: Vec<LogEntry> = page.entries.into_iter().map(Into::into).collect();
    if accepts.contains("text/plain") {
        let mut response = Response::new(StatusCode::Ok);
        response.set_body(entries.iter().map(|entry| entry.short(&host)).collect::<String>());
        response.set_header("content-type", "text/plain; charset=utf-8");
        return Ok(response);
    }
    respond::json(StatusCode::Ok, &LogPage { entries, cursor: page.next })
}
