//! One stream of compressed bytes.

use std::io::{self, Write};

use brotli::CompressorWriter;
use bytes::Bytes;
use flate2::Compression as Level;
use flate2::write::GzEncoder;
use zstd::stream::write::Encoder as ZstdEncoder;
use zstd::zstd_safe::CParameter;

use super::Coding;

/// Levels at which text takes about as long to compress as to send.
const ZSTD_LEVEL: i32 = 3;
const BROTLI_LEVEL: u32 = 4;
const GZIP_LEVEL: u32 = 5;

/// Of a stream of unknown length, which may be open for hours: less memory for a little more output.
const ZSTD_OPEN_LEVEL: i32 = 1;

/// The window and the tables, as powers of two: each encoder takes about one MiB.
const WINDOW_LOG: u32 = 17;
const TABLE_LOG: u32 = 15;

/// Bytes that brotli keeps for its output.
const BROTLI_BUFFER: usize = 4 << 10;

const ZSTD_PARAMETERS: [CParameter; 3] = [
    CParameter::WindowLog(WINDOW_LOG),
    CParameter::HashLog(TABLE_LOG),
    CParameter::ChainLog(TABLE_LOG),
];

fn zstd_level(length: Option<u64>) -> i32 {
    match length {
        Some(_) => ZSTD_LEVEL,
        None => ZSTD_OPEN_LEVEL,
    }
}

/// Compresses what is written to it.
pub(super) enum Encoder {
    Zstd(ZstdEncoder<'static, Vec<u8>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Gzip(GzEncoder<Vec<u8>>),
}

impl Encoder {
    /// Begins a stream, of a length that may be known.
    pub(super) fn new(coding: Coding, length: Option<u64>) -> io::Result<Self> {
        Ok(match coding {
            Coding::Zstd => {
                let mut encoder = ZstdEncoder::new(Vec::new(), zstd_level(length))?;
                for parameter in ZSTD_PARAMETERS {
                    encoder.set_parameter(parameter)?;
                }
                encoder.set_pledged_src_size(length)?;
                Self::Zstd(encoder)
            }
            Coding::Brotli => {
                let encoder =
                    CompressorWriter::new(Vec::new(), BROTLI_BUFFER, BROTLI_LEVEL, WINDOW_LOG);
                Self::Brotli(Box::new(encoder))
            }
            Coding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), Level::new(GZIP_LEVEL))),
        })
    }

    /// Takes bytes, and returns those that are ready.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<Bytes> {
        match self {
            Self::Zstd(encoder) => encoder.write_all(bytes)?,
            Self::Brotli(encoder) => encoder.write_all(bytes)?,
            Self::Gzip(encoder) => encoder.write_all(bytes)?,
        }
        Ok(self.take())
    }

    /// Returns everything that was written and not returned.
    pub(super) fn flush(&mut self) -> io::Result<Bytes> {
        match self {
            Self::Zstd(encoder) => encoder.flush()?,
            Self::Brotli(encoder) => encoder.flush()?,
            Self::Gzip(encoder) => encoder.flush()?,
        }
        Ok(self.take())
    }

    /// Ends the stream, and returns the rest of it.
    pub(super) fn finish(self) -> io::Result<Bytes> {
        let rest = match self {
            Self::Zstd(encoder) => encoder.finish()?,
            Self::Brotli(encoder) => encoder.into_inner(),
            Self::Gzip(encoder) => encoder.finish()?,
        };
        Ok(rest.into())
    }

    fn take(&mut self) -> Bytes {
        let ready = match self {
            Self::Zstd(encoder) => encoder.get_mut(),
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Gzip(encoder) => encoder.get_mut(),
        };
        std::mem::take(ready).into()
    }
}

/// Compresses a whole body.
pub(super) fn whole(coding: Coding, body: &[u8]) -> io::Result<Bytes> {
    let mut encoder = Encoder::new(coding, Some(body.len() as u64))?;
    let mut bytes = Vec::from(encoder.write(body)?);
    bytes.extend_from_slice(&encoder.finish()?);
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use zstd::zstd_safe::{CCtx, InBuffer, OutBuffer};

    use super::*;

    #[test]
    fn an_open_zstd_stream_takes_about_a_mebibyte() {
        for length in [None, Some(8 << 20)] {
            let mut context = CCtx::create();
            let level = CParameter::CompressionLevel(zstd_level(length));
            context.set_parameter(level).unwrap();
            for parameter in ZSTD_PARAMETERS {
                context.set_parameter(parameter).unwrap();
            }
            context.set_pledged_src_size(length).unwrap();
            let (text, mut sent) = (b"text ".repeat(100_000), vec![0; 1 << 20]);
            let mut input = InBuffer::around(&text);
            context
                .compress_stream(&mut OutBuffer::around(&mut sent[..]), &mut input)
                .unwrap();
            let bytes = context.sizeof();
            assert!(bytes < 5 << 18, "{length:?}: {bytes}");
        }
    }
}
