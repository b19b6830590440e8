//! Query strings: which parameters an address knows, and what they mean for a view.

use super::{App, Problem};
use crate::filter::{Filter, FilterError, Region};
use crate::service::{Source, View};
use crate::shade::Style;
use crate::world::{BoundsError, LonLatBox};
use axum::http::Uri;
use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::{Arc, PoisonError};
use tokio::runtime::{Handle, RuntimeFlavor};

/// The parameters that an address knows.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Tells remembered views of different addresses apart: what is right for an image may be unknown to numbers.
    scope: &'static str,
    lists: &'static [&'static [&'static str]],
}

impl Known {
    /// The names, in alphabetical order.
    pub fn names(&self) -> Vec<&'static str> {
        let mut names = self.lists.concat();
        names.sort_unstable();
        names
    }
}

/// Which points are counted.
const FILTER: &[&str] = &["filter", "filter-lang"];

/// The version of the data, which makes an answer immutable.
const VERSION: &[&str] = &["v"];

/// What a stored tile depends on beside its place.
pub const STORED: Known = Known { scope: "stored", lists: &[VERSION] };
/// Which cached tiles to forget.
pub const PURGE: Known = Known { scope: "purge", lists: &[&["bbox", "maxzoom", "minzoom"]] };
pub const NOTHING: Known = Known { scope: "nothing", lists: &[] };
/// All that an image depends on.
pub const IMAGE: Known = Known { scope: "image", lists: &[FILTER, VERSION, &Style::PARAMETERS, &["format", "tilesize"]] };
/// All that a tile's numbers depend on.
pub const NUMBERS: Known = Known { scope: "numbers", lists: &[FILTER, VERSION, &["agg", "by", "column", "dtype", "tilesize"]] };
pub const LEGEND: Known = Known { scope: "legend", lists: &[FILTER, VERSION, &Style::PARAMETERS, &["tilesize", "zoom"]] };
pub const HISTOGRAM: Known = Known {
    scope: "histogram",
    lists: &[FILTER, VERSION, &["bbox", "bins", "by", "column", "limit", "max", "min", "scale", "search"]],
};
pub const POINTS: Known = Known {
    scope: "points",
    lists: &[FILTER, VERSION, &["bbox", "columns", "format", "limit", "offset", "pixel", "tile"]],
};
pub const EVENTS: Known = Known { scope: "events", lists: &[&["zoom"]] };
pub const STATS: Known = Known { scope: "stats", lists: &[FILTER, VERSION, &["by", "bbox"]] };

/// The parameters of a request, percent-decoded; each known to the address and given once.
#[derive(Debug, Default)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// # Errors
    /// A parameter that is not among `known`, or is given twice.
    pub fn parse(uri: &Uri, known: Known) -> Result<Query, Problem> {
        if uri.query().is_none_or(str::is_empty) {
            return Ok(Query::default());
        }
        let axum::extract::Query(pairs) = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_| Problem::bad_request("the query string cannot be read: percent-encode it as UTF-8"))?;
        let mut seen = BTreeSet::new();
        for (name, _) in &pairs {
            let names = known.names();
            if !names.contains(&name.as_str()) {
                let unknown = excerpt(name);
                let detail = match names.is_empty() {
                    true => format!("there is no parameter '{unknown}' here: this address takes none"),
                    false => format!("there is no parameter '{unknown}' here: the known ones are {}", names.join(", ")),
                };
                return Err(Problem::bad_request(detail).with("parameter", unknown));
            }
            if !seen.insert(name) {
                return Err(Problem::bad_request(format!("{name} is given twice: give it once")));
            }
        }
        Ok(Query { pairs })
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The parsed value of a parameter, where it is given.
    ///
    /// # Errors
    /// It cannot be parsed; the message says what would do.
    pub fn parsed<T: FromStr>(&self, name: &str, expected: &str) -> Result<Option<T>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let wrong = |_| Problem::bad_request(format!("{name}={} is not {expected}", excerpt(text)));
        text.parse().map(Some).map_err(wrong)
    }

    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The filter over a dataset: `filter`, inside of `bbox` where the address takes one.
    ///
    /// # Errors
    /// As [`Query::filter_alone`]; or four numbers that are no box.
    pub fn filter(&self, source: &Source) -> Result<Filter, Problem> {
        let alone = self.filter_alone(source)?;
        let Some(LonLatBox { west, south, east, north }) = self.bbox()? else { return Ok(alone) };
        let inside = format!("S_INTERSECTS(geometry, BBOX({west}, {south}, {east}, {north}))");
        let text = match self.get("filter").map(str::trim) {
            None | Some("") => inside,
            Some(text) => format!("({text}) AND {inside}"),
        };
        bound(&text, source)
    }

    /// The filter without the box.
    ///
    /// # Errors
    /// Another language, or a text that is no filter of the dataset: 400, with the position.
    pub fn filter_alone(&self, source: &Source) -> Result<Filter, Problem> {
        if let Some(language) = self.get("filter-lang")
            && language != "cql2-text"
        {
            let detail = format!("filter-lang={} is not served: write the filter in cql2-text", excerpt(language));
            return Err(Problem::bad_request(detail));
        }
        bound(self.get("filter").unwrap_or_default(), source)
    }

    /// Where the box is, in world units.
    ///
    /// # Errors
    /// Four numbers that are no box.
    pub fn area(&self) -> Result<Option<Region>, Problem> {
        Ok(self.bbox()?.map(|bbox| Region::of_boxes(bbox.world_boxes())))
    }

    pub fn bbox(&self) -> Result<Option<LonLatBox>, Problem> {
        let parsed = |text: &str| text.parse().map_err(|error: BoundsError| Problem::bad_request(error.to_string()));
        self.get("bbox").map(parsed).transpose()
    }
}

/// A text as a filter of a dataset. LIKE asks every text of a column's dictionary, which may take a second: other requests go on meanwhile.
fn bound(text: &str, source: &Source) -> Result<Filter, Problem> {
    if text.trim().is_empty() {
        return Ok(Filter::all());
    }
    let bind = || Filter::parse(text, source.dataset());
    let has_other_threads = Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread);
    Ok(if has_other_threads { tokio::task::block_in_place(bind) } else { bind() }?)
}

impl From<FilterError> for Problem {
    fn from(error: FilterError) -> Problem {
        let problem = Problem::bad_request(error.to_string());
        match error.position() {
            Some(position) => problem.with("position", position),
            None => problem,
        }
    }
}

impl App {
    /// The dataset of a name.
    ///
    /// # Errors
    /// 404 with the names that anybody may see; 503 where its files were changed under the server.
    pub fn source(&self, name: &str) -> Result<Arc<Source>, Problem> {
        self.served(name).inspect(|source| source.touch())
    }

    /// As [`App::source`], for whoever does not use it: a dataset that is only listened to may rest.
    ///
    /// # Errors
    /// As there.
    pub fn served(&self, name: &str) -> Result<Arc<Source>, Problem> {
        let sources = self.service.registry().all();
        let source = sources.get(name).cloned().ok_or_else(|| {
            let access = &self.config().access;
            let names: Vec<&str> = sources.keys().map(String::as_str).filter(|name| access.is_public(name)).collect();
            let there = match names.is_empty() {
                true => "GET /catalog lists those that there are".to_owned(),
                false => format!("there are {}", names.join(", ")),
            };
            Problem::not_found(format!("there is no dataset '{}': {there}", excerpt(name))).with("datasets", names)
        })?;
        source.intact()?;
        Ok(source)
    }

    /// The view that a request's query asks for. Views are remembered by query string; an error is not.
    ///
    /// # Errors
    /// 400: an unknown parameter, a wrong style or a wrong filter.
    pub fn view(&self, source: &Arc<Source>, uri: &Uri, known: Known) -> Result<Arc<View>, Problem> {
        let key = (format!("{} {}", known.scope, source.name()), uri.query().unwrap_or_default().to_owned());
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(view) = views.get(&key).filter(|view| Arc::ptr_eq(&view.source, source)) {
            return Ok(view.clone());
        }
        drop(views);
        let query = Query::parse(uri, known)?;
        let view = Arc::new(View::new(source, query.filter(source)?, query.pairs())?);
        self.views.lock().unwrap_or_else(PoisonError::into_inner).put(key, view.clone());
        Ok(view)
    }
}

/// Whether the query names this version of the data. Looks at the raw text: a version is hex digits.
pub fn names_version(uri: &Uri, version: &str) -> bool {
    uri.query().is_some_and(|query| query.split('&').any(|pair| pair.strip_prefix("v=") == Some(version)))
}

/// Whether the query has a parameter of this name, also an empty one.
pub fn has_parameter(uri: &Uri, name: &str) -> bool {
    uri.query().is_some_and(|query| query.split('&').any(|pair| pair.split('=').next() == Some(name)))
}

/// A number of a tile's address. Digits only: `+1` and `-0` would be other names of the same tile.
///
/// # Errors
/// 400 for anything else, and for what does not fit into 32 bits.
pub fn served_number(name: &str, text: &str) -> Result<u32, Problem> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Problem::bad_request(format!("{name}={} is not a whole number", excerpt(text))));
    }
    text.parse().map_err(|_| Problem::bad_request(format!("{name}={} is larger than any number of a tile", excerpt(text))))
}

/// The start of a value, for a message.
pub fn excerpt(text: &str) -> String {
    text.chars().take(100).collect()
}
