//! Where measurements are kept.

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where measurements are stored and looked up: `run`, `user`, or a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum StorePlace {
    /// The run's folder.
    #[default]
    Run,
    /// One file for all runs of the user.
    User,
    /// A file.
    File(PathBuf),
}

impl From<String> for StorePlace {
    fn from(text: String) -> Self {
        match text.as_str() {
            "run" => Self::Run,
            "user" => Self::User,
            file => Self::File(file.into()),
        }
    }
}

impl FromStr for StorePlace {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.to_owned().into())
    }
}

impl From<StorePlace> for String {
    fn from(place: StorePlace) -> Self {
        match place {
            StorePlace::Run => "run".into(),
            StorePlace::User => "user".into(),
            StorePlace::File(file) => file.display().to_string(),
        }
    }
}
