//! The operator's own basemap for the page: which style it loads, and to which other servers it may then speak.
//!
//! Without one the page draws its own basemap and speaks to nobody else. Knows nothing of styles but where they are.

use crate::config;
use axum::http::Uri;

/// Styles for the page's basemap, in the format of MapLibre and Mapbox GL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basemap {
    light: String,
    dark: String,
    /// `scheme://host[:port]`, each once, sorted.
    origins: Vec<String>,
}

/// An address that is no `http(s)://...` and no `/path`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("'{0}' is not an address that a page can load: give https://host/path, http://host/path or /path")]
pub struct NoAddress(String);

impl Basemap {
    /// What the configuration names; `None` where that is nothing.
    ///
    /// # Errors
    /// As [`Basemap::new`].
    pub fn of(settings: &config::Basemap) -> Result<Option<Basemap>, NoAddress> {
        let of_light = |light: &String| Basemap::new(light, settings.dark.as_deref(), &settings.servers);
        settings.light.as_ref().map(of_light).transpose()
    }

    /// # Arguments
    /// `dark` is the style of the dark theme, `light` where there is none. `beside` are further servers that the styles take tiles, letters
    /// or symbols from, by any address there.
    ///
    /// # Errors
    /// [`NoAddress`] for the first address that is none.
    pub fn new(light: &str, dark: Option<&str>, beside: &[String]) -> Result<Basemap, NoAddress> {
        let dark = dark.unwrap_or(light);
        let mut origins = Vec::new();
        for address in [light, dark].into_iter().chain(beside.iter().map(String::as_str)) {
            origins.extend(origin(address)?);
        }
        origins.sort_unstable();
        origins.dedup();
        Ok(Basemap { light: light.to_owned(), dark: dark.to_owned(), origins })
    }

    /// Sources for a content security policy.
    pub fn origins(&self) -> String {
        self.origins.join(" ")
    }

    /// The page, told the styles: it has an empty place for each.
    pub fn told_to(&self, page: &str) -> String {
        let fill = |page: String, name: &str, address: &str| {
            let empty = format!("name=\"{name}\" content=\"\"");
            page.replacen(&empty, &format!("name=\"{name}\" content=\"{}\"", escaped(address)), 1)
        };
        fill(fill(page.to_owned(), "basemap-light", &self.light), "basemap-dark", &self.dark)
    }
}

/// The server of an address; none for one on the page's own.
fn origin(address: &str) -> Result<Option<String>, NoAddress> {
    let wrong = || NoAddress(address.to_owned());
    let uri: Uri = address.parse().map_err(|_| wrong())?;
    match (uri.scheme_str(), uri.authority()) {
        // A host name's letters only, so that nothing else can get into a header.
        (Some(scheme @ ("http" | "https")), Some(at)) if at.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b)) => {
            Ok(Some(format!("{scheme}://{at}")))
        }
        (None, None) if address.starts_with('/') => Ok(None),
        _ => Err(wrong()),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"<meta name="basemap-light" content="" /><meta name="basemap-dark" content="" />"#;

    #[test]
    fn the_page_is_told_both_styles_and_may_speak_to_their_servers_only() {
        let beside = ["https://fonts.example.org/a/b".to_owned(), "https://tiles.example.org:8443".to_owned()];
        let basemap = Basemap::new("https://tiles.example.org:8443/light.json?key=a&b=c", Some("/ui/dark.json"), &beside).unwrap();
        assert_eq!(basemap.origins(), "https://fonts.example.org https://tiles.example.org:8443");
        assert_eq!(
            basemap.told_to(PAGE),
            r#"<meta name="basemap-light" content="https://tiles.example.org:8443/light.json?key=a&amp;b=c" /><meta name="basemap-dark" content="/ui/dark.json" />"#
        );
        let one = Basemap::new("/style.json", None, &[]).unwrap();
        assert_eq!((one.origins().as_str(), one.dark.as_str()), ("", "/style.json"));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for wrong in ["", "style.json", "ftp://example.org/a", "https://", "https://a;script-src *", "https://user@host/", "javascript:alert(1)"] {
            assert_eq!(Basemap::new(wrong, None, &[]), Err(NoAddress(wrong.to_owned())), "{wrong}");
        }
    }
}
