//! Synthetic data in the schemas of real files and with the skew of reality, for demos, tests and benchmarks without a download.
//!
//! Rows depend on (kind, rows, seed) alone. [`towers`] and [`ais`] draw rows, [`write`] encodes them, this module puts the file into place. Nothing
//! here knows datasets or tiles: the files are read back like any other input.

mod ais;
mod land;
mod places;
mod random;
mod ships;
mod table;
mod towers;
mod write;

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub use write::Format;

/// What to generate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Cell towers over the world, OpenCelliD's columns
    Towers,
    /// Ship positions, MarineCadastre's columns
    Ais,
}

/// A whole table: equal values give equal bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation {
    pub kind: Kind,
    pub rows: u64,
    pub seed: u64,
}

/// What to do when the output is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    Keep,
    Replace,
}

#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    #[error("{} exists; give --force to replace it", .0.display())]
    Exists(PathBuf),
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Told the rows and bytes of every step, in order.
pub type Written<'a> = &'a (dyn Fn(u64, u64) + Sync);

impl Generation {
    /// Writes the table to any destination.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_to(&self, format: Format, out: &mut (impl Write + Send), written: Written) -> io::Result<()> {
        match self.kind {
            Kind::Towers => write::write_rows(&towers::Towers { seed: self.seed }, self.rows, format, out, written),
            Kind::Ais => write::write_rows(&ais::Reports::new(self.seed, self.rows), self.rows, format, out, written),
        }
    }

    /// Writes the table to a file: beside it first, and renamed into place when complete, so that a full disk or a killed run leaves nothing that
    /// looks finished.
    ///
    /// # Errors
    /// [`GenerateError::Exists`] if there is such a file and it is to be kept, [`GenerateError::Write`] if the system refuses.
    pub fn write_file(&self, path: &Path, format: Format, existing: Existing, written: Written) -> Result<(), GenerateError> {
        let refused = |source| GenerateError::Write { path: path.to_owned(), source };
        if existing == Existing::Keep && path.exists() {
            return Err(GenerateError::Exists(path.to_owned()));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut partial = tempfile::Builder::new()
            .prefix(".pointillist-generate-")
            .suffix(".partial")
            .make_in(folder, |partial| File::create_new(partial))
            .map_err(refused)?;
        self.write_to(format, partial.as_file_mut(), written).map_err(refused)?;
        match existing {
            Existing::Replace => partial.persist(path).map(drop).map_err(|error| refused(error.error)),
            Existing::Keep => partial.persist_noclobber(path).map(drop).map_err(|error| match error.error.kind() {
                io::ErrorKind::AlreadyExists => GenerateError::Exists(path.to_owned()),
                _ => refused(error.error),
            }),
        }
    }
}

/// The format that a file's name asks for, if it is one that can be written.
pub fn format_of(path: &Path) -> Option<Format> {
    let name = path.file_name()?.to_str()?.to_lowercase();
    [(".csv", Format::Csv), (".csv.gz", Format::CsvGz), (".parquet", Format::Parquet)]
        .into_iter()
        .find_map(|(ending, format)| name.ends_with(ending).then_some(format))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn bytes(generation: Generation, format: Format, threads: usize) -> Vec<u8> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut out = Vec::new();
        pool.install(|| generation.write_to(format, &mut out, &|_, _| ())).unwrap();
        out
    }

    #[test]
    fn bytes_do_not_depend_on_the_number_of_threads() {
        for kind in [Kind::Towers, Kind::Ais] {
            for format in [Format::Csv, Format::CsvGz, Format::Parquet] {
                let generation = Generation { kind, rows: 150_001, seed: 7 };
                assert!(bytes(generation, format, 1) == bytes(generation, format, 4), "{kind:?} {format:?}");
            }
        }
    }

    #[test]
    fn seeds_give_other_rows() {
        for kind in [Kind::Towers, Kind::Ais] {
            let of = |seed| bytes(Generation { kind, rows: 100, seed }, Format::Csv, 1);
            assert_ne!(of(1), of(2));
        }
    }

    /// Every format holds exactly the rows asked for, under the schema's names, and CSV and Parquet hold the same longitudes.
    #[test]
    fn rows_and_columns_read_back() {
        use arrow::array::AsArray;
        use arrow::datatypes::Float64Type;
        use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
        use std::io::Read;

        for (kind, lon, lat) in [(Kind::Towers, "lon", "lat"), (Kind::Ais, "LON", "LAT")] {
            for rows in [0, 1, 65_536, 65_537] {
                let generation = Generation { kind, rows, seed: 3 };
                let text = bytes(generation, Format::Csv, 2);
                let mut unzipped = Vec::new();
                flate2::read::MultiGzDecoder::new(&bytes(generation, Format::CsvGz, 2)[..]).read_to_end(&mut unzipped).unwrap();
                assert!(text == unzipped);

                let mut reader = csv::Reader::from_reader(&text[..]);
                let header: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
                let at = |name| header.iter().position(|column| column == name).unwrap();
                let (lon_at, lat_at) = (at(lon), at(lat));
                let position = |row: csv::StringRecord| (row[lon_at].parse::<f64>().unwrap(), row[lat_at].parse::<f64>().unwrap());
                let positions: Vec<(f64, f64)> = reader.records().map(|row| position(row.unwrap())).collect();
                assert_eq!(positions.len() as u64, rows);
                assert!(positions.iter().all(|(lon, lat)| (-180.0..=180.0).contains(lon) && (-80.0..=80.0).contains(lat)));

                let mut file = tempfile::tempfile().unwrap();
                file.write_all(&bytes(generation, Format::Parquet, 2)).unwrap();
                let parquet = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
                let names: Vec<String> = parquet.schema().fields().iter().map(|field| field.name().clone()).collect();
                assert_eq!(names, header);
                let mut from_parquet = Vec::new();
                for batch in parquet.build().unwrap() {
                    let batch = batch.unwrap();
                    let column = |name| batch.column_by_name(name).unwrap().as_primitive::<Float64Type>().values().to_vec();
                    from_parquet.extend(column(lon).into_iter().zip(column(lat)));
                }
                assert!(positions == from_parquet);
            }
        }
    }

    #[test]
    fn an_existing_file_is_kept_and_a_failed_run_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("towers.csv");
        let generation = Generation { kind: Kind::Towers, rows: 10, seed: 1 };
        generation.write_file(&path, Format::Csv, Existing::Keep, &|_, _| ()).unwrap();
        let again = generation.write_file(&path, Format::Csv, Existing::Keep, &|_, _| ());
        assert!(matches!(again, Err(GenerateError::Exists(_))));
        Generation { rows: 20, ..generation }.write_file(&path, Format::Csv, Existing::Replace, &|_, _| ()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 21);
        let missing = generation.write_file(&folder.path().join("no/such.csv"), Format::Csv, Existing::Keep, &|_, _| ());
        assert!(matches!(missing, Err(GenerateError::Write { .. })));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a partial file was left");
    }

    #[test]
    fn a_name_tells_the_format() {
        assert_eq!(format_of(Path::new("a/b.CSV")), Some(Format::Csv));
        assert_eq!(format_of(Path::new("b.csv.gz")), Some(Format::CsvGz));
        assert_eq!(format_of(Path::new("b.parquet")), Some(Format::Parquet));
        assert_eq!(format_of(Path::new("b.gz")), None);
        assert_eq!(format_of(Path::new("csv")), None);
    }
}
