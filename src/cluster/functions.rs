//! What executors know besides SQL: the key of a point, by the arithmetic of [`crate::world`] and by no other.
//!
//! A key written in SQL would differ from ours in the last bits of its logarithms.

use crate::ingest::{Crs, key};
use ballista_core::registry::BallistaFunctionRegistry;
use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array};
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::execution::{FunctionRegistry, SessionState};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use datafusion::prelude::SessionConfig;
use std::sync::Arc;

/// Keys are unsigned and SQL's integers are not: with this bit turned they have the same order.
const SIGN: u64 = 1 << 63;

/// The name of the function that makes keys: `(x DOUBLE, y DOUBLE) -> BIGINT`, null where a row would be rejected.
pub fn key_function(crs: Crs) -> &'static str {
    match crs {
        Crs::LonLat => "pointillist_key_4326",
        Crs::WebMercator => "pointillist_key_3857",
    }
}

/// All functions.
pub fn functions() -> Vec<Arc<ScalarUDF>> {
    let of = |crs| {
        let arguments = vec![DataType::Float64, DataType::Float64];
        let keys = move |arguments: &[ColumnarValue]| keys(crs, arguments);
        Arc::new(create_udf(key_function(crs), arguments, DataType::Int64, Volatility::Immutable, Arc::new(keys)))
    };
    vec![of(Crs::LonLat), of(Crs::WebMercator)]
}

/// The functions that an executor looks up.
pub fn registry() -> BallistaFunctionRegistry {
    let mut registry = BallistaFunctionRegistry::default();
    registry.scalar_functions.extend(functions().into_iter().map(|function| (function.name().to_owned(), function)));
    registry
}

/// A session of a scheduler, which plans with these functions.
///
/// # Errors
/// DataFusion's own.
pub fn scheduler_session(config: SessionConfig) -> datafusion::error::Result<SessionState> {
    let mut state = ballista_core::utils::default_session_builder(config)?;
    for function in functions() {
        state.register_udf(function)?;
    }
    Ok(state)
}

fn keys(crs: Crs, arguments: &[ColumnarValue]) -> datafusion::error::Result<ColumnarValue> {
    let arrays = ColumnarValue::values_to_arrays(arguments)?;
    let (x, y) = (arrays[0].as_primitive::<Float64Type>(), arrays[1].as_primitive::<Float64Type>());
    let keys: Int64Array = x.iter().zip(y).map(|(x, y)| key(crs, x?, y?).map(|key| (key ^ SIGN) as i64)).collect();
    Ok(ColumnarValue::Array(Arc::new(keys) as ArrayRef))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::Float64Array;

    #[test]
    fn keys_have_the_order_of_the_worlds_and_are_null_where_rows_are_rejected() {
        let xs = [Some(-180.0), Some(0.1), Some(179.9), None, Some(7.0), Some(7.0)];
        let ys = [Some(85.0), Some(0.1), Some(-85.0), Some(1.0), Some(f64::NAN), Some(86.0)];
        let column = |values: [Option<f64>; 6]| ColumnarValue::Array(Arc::new(Float64Array::from(values.to_vec())));
        let found = keys(Crs::LonLat, &[column(xs), column(ys)]).unwrap().into_array(6).unwrap();
        let expected: Vec<Option<i64>> = xs
            .iter()
            .zip(&ys)
            .map(|(x, y)| key(Crs::LonLat, (*x)?, (*y)?).map(|key| (i128::from(key) + i128::from(i64::MIN)) as i64))
            .collect();
        assert_eq!(found.as_primitive::<datafusion::arrow::datatypes::Int64Type>().iter().collect::<Vec<_>>(), expected);
        assert_eq!(expected.iter().filter(|key| key.is_none()).count(), 3);
        assert!(expected[0] < expected[1] && expected[1] < expected[2]);
    }
}
