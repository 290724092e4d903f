//! `/git/{name}.git/info/lfs/…`: large files, as Git LFS pushes and fetches them (git-lfs/docs/api).

use futures_util::AsyncReadExt;
use http_types::{Method, StatusCode};
use tide::Response;
use tokio_util::compat::FuturesAsyncReadCompatExt;
use url::Url;

use super::super::call::Call;
use super::super::respond::{self, Head};
use super::super::stream;
use super::outcome::told;
use crate::api::objects::{
    Action, Actions, AnsweredObject, AskedObject, Batch, BatchAnswer, MEDIA_TYPE, MOST, ObjectError, Operation,
};
use crate::names::{LfsId, LfsPointer, NameError, ServiceName};
use crate::problem::{Code, Problem};

/// The longest request but a file, in bytes.
const LONGEST: u64 = 1024 * 1024;

/// Answers what is asked below `info/lfs/` of a repository.
pub async fn answer(call: Call, name: &ServiceName, path: &str) -> Result<Response, Problem> {
    match (call.request.method(), path, path.strip_prefix("objects/")) {
        (Method::Post, "objects/batch", _) => batch(call, name).await,
        (Method::Get, _, Some(id)) => download(call, name, id).await,
        _ => Err(Problem::new(Code::NotFound, "of Git LFS this host has the files, and no locks or other transfers")),
    }
}

fn object(text: &str) -> Result<LfsId, Problem> {
    text.parse().map_err(|error: NameError| Problem::new(Code::NotFound, error.to_string()))
}

/// The repository's address as the client calls it: Git LFS shows its credential where host and port are the same.
fn base(call: &Call, name: &ServiceName) -> Result<String, Problem> {
    let listen = &call.state().config().listen;
    let asked = call.header("host").and_then(|host| Url::parse(&format!("http://{host}")).ok());
    let asked = asked.filter(|asked| asked.username().is_empty() && asked.path() == "/");
    let asked = asked.ok_or_else(|| Problem::new(Code::BadRequest, "the request names no host"))?;
    let own =
        std::iter::once(&listen.public_url).chain(&listen.origins).filter_map(|own| Url::parse(&own.to_string()).ok());
    let mut own = own.filter(|own| own.host() == asked.host() && own.port() == asked.port());
    let place = own.next().unwrap_or(asked);
    Ok(format!("{}/git/{name}.git/info/lfs/objects", place.as_str().trim_end_matches('/')))
}

async fn batch(mut call: Call, name: &ServiceName) -> Result<Response, Problem> {
    let mut body = Vec::new();
    let mut read = call.request.take_body().into_reader().take(LONGEST + 1);
    let came = read.read_to_end(&mut body).await;
    came.map_err(|_| Problem::new(Code::BadRequest, "the body did not arrive whole"))?;
    if body.len() as u64 > LONGEST {
        return Err(Problem::new(Code::PayloadTooLarge, format!("a batch has at most {} KiB", LONGEST / 1024)));
    }
    let asked: Batch =
        serde_json::from_slice(&body).map_err(|_| Problem::new(Code::BadRequest, "this is no batch of Git LFS"))?;
    if asked.objects.len() > MOST {
        return Err(Problem::new(Code::PayloadTooLarge, format!("a batch has at most {MOST} files")));
    }
    let base = base(&call, name)?;
    let mut objects = Vec::with_capacity(asked.objects.len());
    for AskedObject { oid, size } in asked.objects {
        let answered = one(&call, name, asked.operation, &base, &oid, size).await;
        let (actions, error) = match answered {
            Ok(actions) => (actions, None),
            Err(problem) => (
                None,
                Some(ObjectError { code: respond::status(problem.code).into(), message: respond::line(&problem) }),
            ),
        };
        objects.push(AnsweredObject { oid, size, actions, error });
    }
    let answer = BatchAnswer { transfer: "basic", hash_algo: "sha256", objects };
    let mut response = respond::json(StatusCode::Ok, &answer)?;
    response.set_header("content-type", MEDIA_TYPE);
    Ok(response)
}

async fn one(
    call: &Call,
    name: &ServiceName,
    operation: Operation,
    base: &str,
    oid: &str,
    size: u64,
) -> Result<Option<Actions>, Problem> {
    let services = call.state().services();
    let id = object(oid)?;
    let is_there = services.has_object(name, &id).await;
    let action = Some(Action { href: format!("{base}/{id}") });
    match operation {
        Operation::Download if is_there => Ok(Some(Actions { download: action, upload: None })),
        Operation::Download => Err(missing()),
        Operation::Upload if is_there => Ok(None),
        Operation::Upload => {
            services.check_object(name, size).await.map_err(told)?;
            Ok(Some(Actions { upload: action, download: None }))
        }
    }
}

fn missing() -> Problem {
    Problem::new(Code::NotFound, "the file was never pushed here").with_hint("push it: `git lfs push --all REMOTE`")
}

async fn download(call: Call, name: &ServiceName, id: &str) -> Result<Response, Problem> {
    let id = object(id)?;
    let (file, _) = call.state().services().open_object(name, &id).await.map_err(told)?.ok_or_else(missing)?;
    let mut response = Response::new(StatusCode::Ok);
    response.set_body(stream::bytes(file, call.lease().await?));
    response.set_header("content-type", "application/octet-stream");
    Ok(response)
}

/// Takes a file.
pub async fn upload(mut call: Call, name: &ServiceName, id: &str) -> Result<Response, Problem> {
    let id = object(id)?;
    let length = call.header("content-length").and_then(|length| length.parse().ok());
    let size = length.ok_or_else(|| Problem::new(Code::BadRequest, "the request doesn't say how long the file is"))?;
    let actor = call.actor()?.to_string();
    let body = call.request.take_body().into_reader().compat();
    let pointer = LfsPointer { id, size };
    call.state().services().push_object(name, &pointer, &actor, body).await.map_err(told)?;
    Ok(Response::new(StatusCode::Ok))
}
