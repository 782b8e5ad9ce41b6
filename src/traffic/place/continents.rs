//! Which continent a country is on, according to `GeoNames` and `MaxMind`.

use std::str::FromStr;
use std::sync::LazyLock;

use crate::place::{Country, CountrySet};

/// A continent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Continent {
    /// `AF`.
    Africa,
    /// `AN`.
    Antarctica,
    /// `AS`.
    Asia,
    /// `EU`.
    Europe,
    /// `NA`.
    NorthAmerica,
    /// `OC`.
    Oceania,
    /// `SA`.
    SouthAmerica,
}

impl Continent {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 7] = [
        Self::Africa,
        Self::Antarctica,
        Self::Asia,
        Self::Europe,
        Self::NorthAmerica,
        Self::Oceania,
        Self::SouthAmerica,
    ];

    /// Returns the code of two letters.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Africa => "AF",
            Self::Antarctica => "AN",
            Self::Asia => "AS",
            Self::Europe => "EU",
            Self::NorthAmerica => "NA",
            Self::Oceania => "OC",
            Self::SouthAmerica => "SA",
        }
    }

    /// Returns its countries.
    pub fn countries(self) -> CountrySet {
        let codes = self.listed().split_ascii_whitespace();
        codes
            .filter_map(|code| code.parse::<Country>().ok())
            .collect()
    }

    const fn listed(self) -> &'static str {
        match self {
            Self::Africa => {
                "AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG EH ER ET GA GH GM GN GQ GW KE \
                 KM LR LS LY MA MG ML MR MU MW MZ NA NE NG RE RW SC SD SH SL SN SO SS ST \
                 SZ TD TG TN TZ UG YT ZA ZM ZW"
            }
            Self::Antarctica => "AQ BV GS HM TF",
            Self::Asia => {
                "AE AF AM AZ BD BH BN BT CC CN CX GE HK ID IL IN IO IQ IR JO JP KG KH KP \
                 KR KW KZ LA LB LK MM MN MO MV MY NP OM PH PK PS QA SA SG SY TH TJ TM TR \
                 TW UZ VN YE"
            }
            Self::Europe => {
                "AD AL AT AX BA BE BG BY CH CY CZ DE DK EE ES FI FO FR GB GG GI GR HR HU \
                 IE IM IS IT JE LI LT LU LV MC MD ME MK MT NL NO PL PT RO RS RU SE SI SJ \
                 SK SM UA VA XK"
            }
            Self::NorthAmerica => {
                "AG AI AW BB BL BM BQ BS BZ CA CR CU CW DM DO GD GL GP GT HN HT JM KN KY \
                 LC MF MQ MS MX NI PA PM PR SV SX TC TT US VC VG VI"
            }
            Self::Oceania => {
                "AS AU CK FJ FM GU KI MH MP NC NF NR NU NZ PF PG PN PW SB TK TL TO TV UM \
                 VU WF WS"
            }
            Self::SouthAmerica => "AR BO BR CL CO EC FK GF GY PE PY SR UY VE",
        }
    }
}

impl FromStr for Continent {
    type Err = NotAContinent;

    fn from_str(code: &str) -> Result<Self, NotAContinent> {
        let mut all = Self::ALL.into_iter();
        let found = all.find(|continent| continent.code().eq_ignore_ascii_case(code));
        found.ok_or(NotAContinent)
    }
}

static ASSIGNED: LazyLock<CountrySet> = LazyLock::new(|| {
    let continents = Continent::ALL.map(Continent::countries);
    continents.iter().flat_map(CountrySet::iter).collect()
});

/// Returns whether a code is that of a country: others, such as `XX`, no policy can name.
pub fn is_assigned(country: Country) -> bool {
    ASSIGNED.has(country)
}

/// A text is not the code of a continent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a continent is one of AF, AN, AS, EU, NA, OC, SA")]
pub struct NotAContinent;

#[cfg(test)]
mod tests {
    use super::*;

    /// ISO 3166-1 has 249 codes; Kosovo's is also in use.
    #[test]
    fn every_country_is_on_one_continent() {
        let each = Continent::ALL.map(Continent::countries);
        let count: usize = each.iter().map(|set| set.iter().count()).sum();
        let all: CountrySet = each.iter().flat_map(CountrySet::iter).collect();
        assert_eq!((count, all.iter().count()), (250, 250));
    }

    #[test]
    fn a_code_is_read_in_either_case_and_nonsense_is_refused() {
        assert_eq!("eu".parse(), Ok(Continent::Europe));
        assert_eq!("XX".parse::<Continent>(), Err(NotAContinent));
        assert!(Continent::Europe.countries().has("DE".parse().unwrap()));
        assert!(is_assigned("DE".parse().unwrap()) && !is_assigned("XX".parse().unwrap()));
    }
}
