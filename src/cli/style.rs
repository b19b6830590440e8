//! Parameters of a style as arguments, for every command that takes them.

use crate::shade::Style;

/// One parameter of a style. Whether its value is one, all of them together say.
pub fn style_parameter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if Style::PARAMETERS.contains(&name) => Ok((name.to_owned(), value.to_owned())),
        Some((name, _)) => Err(format!("no style has '{name}': the parameters are {}", Style::PARAMETERS.join(", "))),
        None => Err(format!("'{text}' is no NAME=VALUE, such as how=log")),
    }
}
