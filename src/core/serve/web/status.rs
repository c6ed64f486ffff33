//! The cluster, for administrators: how it is, scrubs and repairs.

use hyper::StatusCode;

use super::api::{check_admin, told};
use super::asked::{Asked, Outcome};
use crate::core::error::Result;
use crate::core::serve::operator::{Caller, Names, Operator};
use crate::core::wire::admin::Fields;

/// The page: it asks again how far something is, so it is told nothing meanwhile.
struct Page {
    /// What is begun goes on by itself.
    has_gone: bool,
}

impl Caller for Page {
    fn progress(&mut self, _: Fields) {}

    fn item(&mut self, _: Fields) {}

    fn has_gone(&mut self) -> bool {
        self.has_gone
    }
}

impl Asked {
    fn operator(&self) -> Result<&'static Operator> {
        check_admin(self)?;
        let operator: &'static Operator = &self.visit.web.backend.operator;
        Ok(operator)
    }

    pub(super) fn tell_status(&self) -> Outcome {
        told(&self.operator()?.status(Names::Shown)?)
    }

    pub(super) fn begin_scrub(&self) -> Outcome {
        self.operator()?.scrub(false, None, true, &mut Page { has_gone: true })?;
        Ok(StatusCode::ACCEPTED.into())
    }

    pub(super) fn end_scrub(&self) -> Outcome {
        self.operator()?.stop_scrub(&mut Page { has_gone: false })?;
        Ok(StatusCode::ACCEPTED.into())
    }

    pub(super) fn repair(&self) -> Outcome {
        self.operator()?.heal(&mut Page { has_gone: true })?;
        Ok(StatusCode::ACCEPTED.into())
    }
}
