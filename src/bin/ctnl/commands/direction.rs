//! The direction of `--sort`: `FIELD`, `FIELD:asc` or `FIELD:desc`.

use anyhow::Result;

use crate::term::exit::usage_at;

/// The name, and whether the largest come first; `None` where no direction is given.
pub fn split_direction(text: &str) -> Result<(&str, Option<bool>)> {
    match text.split_once(':') {
        None => Ok((text, None)),
        Some((name, "asc")) => Ok((name, Some(false))),
        Some((name, "desc")) => Ok((name, Some(true))),
        Some((name, direction)) => {
            let wrong = format!("invalid direction '{direction}': expected asc or desc");
            Err(usage_at("--sort", text, name.len() + 1..text.len(), &wrong, ""))
        }
    }
}
