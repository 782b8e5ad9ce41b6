//! The parts of a file that were understood, with their places; other parts are missing, and marked
//! as such.

use std::collections::BTreeMap;

use crate::plan::{AffinityKey, Clauses, Condition, Period, RegionMask, Tier};
use crate::syntax::Span;
use crate::syntax::ast::{Body, Clause, Measure, Word};

/// Kinds of clauses shared by `defaults`, policies and windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ClauseKind {
    Leave,
    Return,
    Retry,
    Panic,
    Else,
    Require,
}

impl ClauseKind {
    pub(crate) const ALL: [Self; 6] = [
        Self::Leave,
        Self::Return,
        Self::Retry,
        Self::Panic,
        Self::Else,
        Self::Require,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Leave => "leave",
            Self::Return => "return",
            Self::Retry => "retry",
            Self::Panic => "panic",
            Self::Else => "else",
            Self::Require => "require",
        }
    }
}

/// The clauses of one block.
#[derive(Clone, Debug, Default)]
pub(crate) struct DraftClauses<'t, 's> {
    /// The clauses that were understood.
    pub(crate) clauses: Clauses,
    /// `require survive N`.
    pub(crate) require: Option<u32>,
    /// The places of clauses, including those that were not understood.
    pub(crate) written: BTreeMap<ClauseKind, &'t Clause<'s>>,
    /// Whether a clause may be missing because it could not be read.
    pub(crate) broken: bool,
}

impl<'t, 's> DraftClauses<'t, 's> {
    /// Returns the clauses of a plan.
    pub(crate) fn planned(&self) -> Clauses {
        Clauses {
            survive: self.require,
            ..self.clauses.clone()
        }
    }

    /// Returns the place of a clause.
    pub(crate) fn span(&self, kind: ClauseKind) -> Option<Span> {
        self.written.get(&kind).map(|clause| clause.span)
    }

    /// Returns the measure of a quantity in `leave` or `return`.
    pub(crate) fn measure(&self, kind: ClauseKind, quantity: &str) -> Option<&'t Measure<'s>> {
        let (Body::Leave { measures, .. } | Body::Return { measures, .. }) =
            &self.written.get(&kind)?.body
        else {
            return None;
        };
        let mut measures = measures.measures.iter();
        measures.find(|measure| measure.quantity.text == quantity)
    }
}

/// `only`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Only {
    /// Not written.
    Any,
    /// These regions.
    These(RegionMask, Span),
    /// Not understood.
    Unknown,
}

/// A policy.
#[derive(Clone, Debug)]
pub(crate) struct DraftPolicy<'t, 's> {
    pub(crate) name: Word<'s>,
    /// `None` if it could not be understood.
    pub(crate) matches: Option<Condition>,
    /// The place of `match`.
    pub(crate) match_span: Option<Span>,
    pub(crate) only: Only,
    /// `None` if one could not be understood.
    pub(crate) tiers: Option<Vec<(Tier, Span)>>,
    pub(crate) affinity: Vec<AffinityKey>,
    pub(crate) clauses: DraftClauses<'t, 's>,
}

impl DraftPolicy<'_, '_> {
    /// Returns the regions that it names within its `only`, for a gateway in `local`.
    pub(crate) fn named(&self, local: Option<crate::plan::RegionIndex>) -> Option<RegionMask> {
        let tiers = self.tiers.as_ref()?.iter();
        let named = tiers.fold(RegionMask::EMPTY, |named, (tier, _)| {
            named.or(tier.regions(local))
        });
        match self.only {
            Only::Any => Some(named),
            Only::These(only, _) => Some(named.and(only)),
            Only::Unknown => None,
        }
    }

    /// Returns what of some regions its `only` allows.
    pub(crate) fn allowed(&self, regions: RegionMask) -> RegionMask {
        match self.only {
            Only::These(only, _) => regions.and(only),
            Only::Any | Only::Unknown => regions,
        }
    }

    /// Returns whether it has a tier `local`.
    pub(crate) fn has_local(&self) -> bool {
        let mut tiers = self.tiers.iter().flatten();
        tiers.any(|(tier, _)| *tier == Tier::Local)
    }
}

/// What a window does.
#[derive(Clone, Debug)]
pub(crate) enum DraftEffect<'t, 's> {
    Drain(RegionMask, Span),
    Replace(DraftClauses<'t, 's>),
}

/// A window.
#[derive(Clone, Debug)]
pub(crate) struct DraftWindow<'t, 's> {
    pub(crate) name: Word<'s>,
    /// Those that could be understood.
    pub(crate) periods: Vec<Period>,
    /// `None` if it could not be understood.
    pub(crate) effect: Option<DraftEffect<'t, 's>>,
}
