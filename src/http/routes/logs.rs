//! `/services/{name}/logs`.

use http_types::StatusCode;
use jiff::Timestamp;
use tide::Response;

use super::super::extract::{self, Rules};
use super::super::{Call, respond, stream};
use super::{told, within};
use crate::api::logs::{Direction, LogEntry, LogPage, Logs};
use crate::journal::{self, Query, Select};
use crate::names::{ReleaseName, ReleaseNumber};
use crate::problem::{Code, Problem};

/// How many of a service's newest builds its logs show.
const BUILDS: u32 = 50;

fn micros(time: Timestamp) -> Result<u64, Problem> {
    u64::try_from(time.as_microsecond()).map_err(|_| Problem::new(Code::BadRequest, "that moment is before 1970"))
}

pub async fn history(mut call: Call) -> Result<Response, Problem> {
    let name = call.service()?;
    let wanted: Logs =
        extract::fields(&mut call.request, Rules { path: Some(("name", name.as_str())), ..Rules::default() }).await?;
    let lines = usize::try_from(within(wanted.lines, "lines", 1, 10_000, 200)?).unwrap_or(200);
    let priority = within(wanted.priority, "priority", 0, 7, 7)?;
    let store = &call.state().parts().store;
    let service = store.service(&name).await.map_err(|error| told(error.into()))?;
    let select = match wanted.release {
        Some(number) => {
            let number: ReleaseNumber = number
                .to_string()
                .parse()
                .map_err(|error: crate::names::NameError| Problem::new(Code::BadRequest, error.to_string()))?;
            Select::Release(ReleaseName::new(&name, number))
        }
        None => {
            let page = store.deployments(&name, None, BUILDS).await.map_err(|error| told(error.into()))?;
            let built = page.deployments.into_iter().filter(|deployment| deployment.from_release.is_none());
            Select::Service(name.clone(), built.map(|deployment| deployment.id).collect())
        }
    };
    // What lies further back belongs to another service that had this name.
    let created = micros(service.created)?;
    let query = Query {
        select,
        since: Some(wanted.since.map(micros).transpose()?.map_or(created, |since| since.max(created))),
        until: wanted.until.map(micros).transpose()?,
        cursor: wanted.cursor,
        direction: match wanted.direction {
            Direction::Forward => journal::Direction::Forward,
            Direction::Backward => journal::Direction::Backward,
        },
        lines,
        grep: wanted.grep,
        priority: (priority < 7).then(|| u8::try_from(priority).unwrap_or(7)),
    };
    let accepts = call.header("accept").unwrap_or_default().to_owned();
    if wanted.follow {
        let lines = call.state().parts().journal.follow(query);
        let stopping = call.state().stopping();
        return Ok(if accepts.contains("text/plain") {
            stream::text(lines, stopping, move |entry| short(&entry, name.as_str()))
        } else {
            stream::events(lines, stopping)
        });
    }
    let page = call.state().parts().journal.query(query).await.map_err(|error| told(error.into()))?;
    let entries: Vec<LogEntry> = page.entries.into_iter().map(Into::into).collect();
    if accepts.contains("text/plain") {
        let mut response = Response::new(StatusCode::Ok);
        response.set_body(entries.iter().map(|entry| short(entry, name.as_str())).collect::<String>());
        response.insert_header("content-type", "text/plain; charset=utf-8");
        return Ok(response);
    }
    respond::json(StatusCode::Ok, &LogPage { entries, cursor: page.next })
}

fn short(entry: &LogEntry, service: &str) -> String {
    match entry.build {
        Some(id) => entry.short(&format!("build-{id}")),
        None => entry.short(service),
    }
}
