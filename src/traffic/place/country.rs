//! Countries as numbers, and sets of them.

use std::fmt;
use std::str::FromStr;

const LETTERS: u16 = 26;

/// Codes of two letters.
const CODES: usize = (LETTERS * LETTERS) as usize;

/// A country by its ISO 3166-1 code of two letters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country(u16);

impl Country {
    /// Returns the code.
    pub fn code(self) -> [u8; 2] {
        [self.0 / LETTERS, self.0 % LETTERS].map(|letter| b'A' + letter as u8)
    }

    /// Returns a number below 676.
    pub fn get(self) -> usize {
        usize::from(self.0)
    }
}

impl FromStr for Country {
    type Err = NotACountry;

    /// Reads two letters of either case.
    fn from_str(code: &str) -> Result<Self, NotACountry> {
        let &[first, second] = code.as_bytes() else {
            return Err(NotACountry);
        };
        let letter = |byte: u8| {
            let upper = byte.to_ascii_uppercase();
            let letter = upper.is_ascii_uppercase().then(|| upper - b'A');
            letter.map(u16::from).ok_or(NotACountry)
        };
        Ok(Self(letter(first)? * LETTERS + letter(second)?))
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = self.code().map(char::from);
        write!(f, "{first}{second}")
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text is not two letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a country is a code of two letters")]
pub struct NotACountry;

/// A set of countries.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CountrySet([u64; CODES.div_ceil(64)]);

impl CountrySet {
    /// No country.
    pub const EMPTY: Self = Self([0; CODES.div_ceil(64)]);

    /// Returns whether the set has a country.
    pub fn has(&self, country: Country) -> bool {
        self.0[country.get() / 64] & (1 << (country.get() % 64)) != 0
    }

    /// Adds a country.
    pub fn insert(&mut self, country: Country) {
        self.0[country.get() / 64] |= 1 << (country.get() % 64);
    }

    /// Returns the countries of either set.
    #[must_use]
    pub fn or(mut self, other: &Self) -> Self {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine |= theirs;
        }
        self
    }

    /// Returns the countries in the order of their codes.
    pub fn iter(&self) -> impl Iterator<Item = Country> {
        (0..CODES as u16)
            .map(Country)
            .filter(|country| self.has(*country))
    }

    /// Returns whether every country of this set is in the other one.
    pub fn is_subset(&self, other: &Self) -> bool {
        let mut words = self.0.iter().zip(&other.0);
        words.all(|(mine, theirs)| mine & !theirs == 0)
    }
}

impl FromIterator<Country> for CountrySet {
    fn from_iter<I: IntoIterator<Item = Country>>(countries: I) -> Self {
        let mut set = Self::EMPTY;
        for country in countries {
            set.insert(country);
        }
        set
    }
}

impl fmt::Debug for CountrySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
