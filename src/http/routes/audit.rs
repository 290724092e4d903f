//! `/audit`: who did what.

use http_types::StatusCode;
use tide::Response;

use super::super::call::Call;
use super::super::extract::{self, Rules};
use super::super::respond;
use super::outcome::{limit, told};
use crate::api::audit::{Audit, AuditPage, AuditRow, Verified};
use crate::problem::{Code, Problem};

pub async fn list(mut call: Call) -> Result<Response, Problem> {
    let page: AuditPage = extract::fields(&mut call.request, Rules::default()).await?;
    let limit = u32::try_from(limit(&page)?).unwrap_or(u32::MAX - 1);
    let before = page.cursor.map(|cursor| cursor.parse::<i64>()).transpose();
    let before = before.map_err(|_| Problem::new(Code::BadRequest, "this is no cursor of ours"))?;
    let rows = call.state().auth().audit(before, limit + 1).await.map_err(told)?;
    let more = rows.len() > limit as usize;
    let rows: Vec<AuditRow> = rows.into_iter().take(limit as usize).map(Into::into).collect();
    let cursor = rows.last().filter(|_| more).map(|row| row.id.to_string());
    let dropped = call.state().auth().audit_cuts().await.map_err(told)?;
    respond::json(StatusCode::Ok, &Audit { rows, cursor, dropped: dropped.into_iter().map(Into::into).collect() })
}

/// Looks at the whole log.
pub async fn verify(call: Call) -> Result<Response, Problem> {
    let state = call.state().auth().verify_audit().await.map_err(told)?;
    respond::json(StatusCode::Ok, &Verified::from(state))
}
