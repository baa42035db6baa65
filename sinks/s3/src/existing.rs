//! Whether an object that is there already has our records.

use std::io::{self, Read};

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use bytes::Bytes;
use connector_aws::parts::Store;
use connector_core::Result;
use flate2::read::MultiGzDecoder;
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt, PutPayload};

/// An object that is there, beside ours, which begins at the same offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// All records of ours, and perhaps later ones.
    Complete,
    /// The first of ours.
    Shorter,
    Foreign,
}

/// A compressed object is read whole to be compared; a larger one (bytes) counts as another.
const LARGEST: u64 = 256 << 20;

/// Compares what is at `key` with what is to be put there.
pub async fn compare(store: &Store, key: &Path, payload: &PutPayload) -> Result<Existing> {
    let explain = |cause: Error| store.explain("reading the existing", Some(key), &cause);
    let ours = Bytes::from(payload.clone());
    let there = store.objects.head(key).await.map_err(explain)?;
    let (size, ours_size) = (there.size, ours.len() as u64);
    let first = store.objects.get_range(key, 0..size.min(ours_size)).await.map_err(explain)?;
    if first.starts_with(&ours) {
        return Ok(Existing::Complete);
    }
    let packed = |magic: &[u8]| ours.starts_with(magic) && first.starts_with(magic);
    if (packed(GZIP) || packed(PARQUET)) && size <= LARGEST {
        let theirs = store.objects.get(key).await.map_err(explain)?.bytes().await.map_err(explain)?;
        if packed(GZIP)
            && let (Ok(ours), Ok(theirs)) = (unzipped(&ours), unzipped(&theirs))
        {
            return Ok(relation(theirs.starts_with(&ours), ours.starts_with(&theirs)));
        }
        if packed(PARQUET)
            && let (Some(ours), Some(theirs)) = (rows(ours.clone()), rows(theirs))
        {
            let (n, m) = (ours.num_rows(), theirs.num_rows());
            let same =
                ours.schema() == theirs.schema() && ours.slice(0, n.min(m)) == theirs.slice(0, n.min(m));
            return Ok(relation(same && m >= n, same && m < n));
        }
    }
    // It may have changed since it was looked at; its length would tell.
    Ok(relation(false, first.len() as u64 == size && ours.starts_with(&first)))
}

fn relation(has_all: bool, has_fewer: bool) -> Existing {
    match (has_all, has_fewer) {
        (true, _) => Existing::Complete,
        (_, true) => Existing::Shorter,
        _ => Existing::Foreign,
    }
}

const GZIP: &[u8] = &[0x1f, 0x8b];
const PARQUET: &[u8] = b"PAR1";

fn unzipped(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    MultiGzDecoder::new(bytes).read_to_end(&mut text)?;
    Ok(text)
}

fn rows(file: Bytes) -> Option<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).ok()?.build().ok()?;
    let schema = ::arrow::array::RecordBatchReader::schema(&reader);
    let batches: Vec<_> = reader.collect::<Result<_, _>>().ok()?;
    concat_batches(&schema, &batches).ok()
}
