//! gzip in members of 1 MiB, compressed on rayon's threads and written in order.
//!
//! A member never depends on its neighbours, so the split alone decides the bytes. At most [`GzipEncoder::limit`] members are in
//! flight; their buffers go round and are not allocated again.

use std::collections::VecDeque;
use std::io;
use std::io::Write;
use std::sync::mpsc;
use std::time::Duration;

use libdeflater::CompressionLvl;
use libdeflater::Compressor;

const MEMBER: usize = 1 << 20;
/// 24 members of at most 2.1 MiB each: 50 MiB however many cores there are.
const MAX_IN_FLIGHT: usize = 24;

pub(super) struct GzipEncoder<W: Write> {
    inner: W,
    level: CompressionLvl,
    current: Vec<u8>,
    in_flight: VecDeque<mpsc::Receiver<Job>>,
    idle: Vec<Job>,
    limit: usize,
    is_empty: bool,
}

/// One member, and what is needed to make it.
struct Job {
    compressor: Compressor,
    content: Vec<u8>,
    member: Vec<u8>,
}

impl<W: Write> GzipEncoder<W> {
    pub(super) fn new(inner: W, level: u8) -> io::Result<GzipEncoder<W>> {
        let level = CompressionLvl::new(i32::from(level))
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "no such gzip level"))?;
        let limit = (rayon::current_num_threads() * 2).min(MAX_IN_FLIGHT);
        let (in_flight, idle) = (VecDeque::new(), Vec::new());
        Ok(GzipEncoder { inner, level, current: Vec::new(), in_flight, idle, limit, is_empty: true })
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        if self.in_flight.is_empty() && (self.is_empty || !self.current.is_empty()) {
            // Small: not worth a thread. An empty stream still needs one member.
            let mut job = self.next_job();
            job.run();
            self.inner.write_all(&job.member)?;
        } else if !self.current.is_empty() {
            self.start();
        }
        while !self.in_flight.is_empty() {
            self.write_oldest()?;
        }
        Ok(self.inner)
    }

    /// Takes the current content into a job.
    fn next_job(&mut self) -> Job {
        self.is_empty = false;
        let new = || Job { compressor: Compressor::new(self.level), content: Vec::new(), member: Vec::new() };
        let mut job = self.idle.pop().unwrap_or_else(new);
        job.content.clear();
        std::mem::swap(&mut job.content, &mut self.current);
        job
    }

    fn start(&mut self) {
        let mut job = self.next_job();
        let (sender, receiver) = mpsc::sync_channel(1);
        rayon::spawn(move || {
            job.run();
            // Nobody waits if the encoder was dropped.
            drop(sender.send(job));
        });
        self.in_flight.push_back(receiver);
    }

    fn write_oldest(&mut self) -> io::Result<()> {
        let Some(receiver) = self.in_flight.pop_front() else { return Ok(()) };
        let job = receive(&receiver)?;
        self.inner.write_all(&job.member)?;
        self.idle.push(job);
        Ok(())
    }
}

impl Job {
    fn run(&mut self) {
        self.member.resize(self.compressor.gzip_compress_bound(self.content.len()), 0);
        // The buffer is as large as the library says it must be, so the only error there is cannot occur; were it to, the member
        // would be empty and the digest of the content would not fit.
        let size = self.compressor.gzip_compress(&self.content, &mut self.member).unwrap_or(0);
        self.member.truncate(size);
    }
}

/// Waits for a job. On one of rayon's own threads it works on other jobs meanwhile: if all of them just waited, nobody would be
/// left to do what they wait for.
fn receive(receiver: &mpsc::Receiver<Job>) -> io::Result<Job> {
    let lost = || io::Error::other("a compression thread was lost");
    loop {
        match rayon::yield_now() {
            None => return receiver.recv().map_err(|_| lost()),
            Some(rayon::Yield::Executed) => {}
            Some(rayon::Yield::Idle) => match receiver.recv_timeout(Duration::from_micros(500)) {
                Ok(job) => return Ok(job),
                Err(mpsc::RecvTimeoutError::Timeout) => continue,
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(lost()),
            },
        }
        match receiver.try_recv() {
            Ok(job) => return Ok(job),
            Err(mpsc::TryRecvError::Empty) => {}
            Err(mpsc::TryRecvError::Disconnected) => return Err(lost()),
        }
    }
}

impl<W: Write> Write for GzipEncoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.current.len() == MEMBER {
            while self.in_flight.len() >= self.limit {
                self.write_oldest()?;
            }
            self.start();
        }
        let count = bytes.len().min(MEMBER - self.current.len());
        self.current.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
