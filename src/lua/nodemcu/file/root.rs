//! A folder that no name leads out of: no `..`, no absolute path, no symbolic link, and nothing but files.
//!
//! Names are walked part by part, each opened relative to the folder before it and never through a link, so that nobody
//! who changes the folder meanwhile gets a name to lead elsewhere.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{AtFlags, Dir, FileType, OFlags, Stat};

/// What the device calls its file system.
const DRIVE: &[u8] = b"/FLASH/";

/// A name with slashes stands for a file in a folder below. These are as far down as a list goes.
const DEEPEST: usize = 4;

/// How to open a file.
#[derive(Clone, Copy)]
pub(super) struct Mode {
    flags: OFlags,
    append: bool,
}

impl Mode {
    pub(super) const READ: Mode = Mode { flags: OFlags::RDONLY, append: false };
    pub(super) const WRITE: Mode =
        Mode { flags: OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::TRUNC), append: false };

    /// As the devices read it: what is none of the six is for reading.
    pub(super) fn of(text: &[u8]) -> Mode {
        let create = OFlags::CREATE;
        match text {
            b"w" => Mode::WRITE,
            b"a" => Mode { flags: OFlags::WRONLY | create | OFlags::APPEND, append: true },
            b"r+" => Mode { flags: OFlags::RDWR, append: false },
            b"w+" => Mode { flags: OFlags::RDWR | create | OFlags::TRUNC, append: false },
            b"a+" => Mode { flags: OFlags::RDWR | create | OFlags::APPEND, append: true },
            _ => Mode::READ,
        }
    }
}

/// See the [module](self).
pub(super) struct Root {
    path: PathBuf,
    /// Opened when it is needed first.
    folder: Option<OwnedFd>,
}

impl Default for Root {
    /// The current folder, at this moment.
    fn default() -> Root {
        Root { path: std::env::current_dir().unwrap_or_else(|_| ".".into()), folder: None }
    }
}

/// A file's name, and where it is: none, in the root itself.
struct Found<'a> {
    folder: Option<OwnedFd>,
    name: &'a OsStr,
}

impl Root {
    pub(super) fn at(path: &str) -> io::Result<Root> {
        let mut root = Root { path: path.into(), folder: None };
        root.folder()?;
        Ok(root)
    }

    pub(super) fn open(&mut self, name: &[u8], mode: Mode) -> io::Result<File> {
        let found = self.find(name, mode.flags.contains(OFlags::CREATE))?;
        // Not to wait for somebody at the other end of a pipe; harmless for files.
        let always = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let folder = self.within(&found)?;
        let fd = rustix::fs::openat(folder, found.name, mode.flags | always, 0o666.into())?;
        if !is_file(rustix::fs::fstat(&fd)?.st_mode) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut file = File::from(fd);
        if mode.append {
            file.seek(SeekFrom::End(0))?;
        }
        Ok(file)
    }

    /// Size, and when it was changed: seconds since 1970.
    pub(super) fn stat(&mut self, name: &[u8]) -> io::Result<(u64, i64)> {
        let (_, stat) = self.find_file(name)?;
        #[allow(clippy::unnecessary_cast, reason = "some processors' system calls have another type")]
        Ok((stat.st_size as u64, stat.st_mtime as i64))
    }

    pub(super) fn remove(&mut self, name: &[u8]) -> io::Result<()> {
        let (found, _) = self.find_file(name)?;
        Ok(rustix::fs::unlinkat(self.within(&found)?, found.name, AtFlags::empty())?)
    }

    /// Fails where there is a file of the new name.
    pub(super) fn rename(&mut self, from: &[u8], to: &[u8]) -> io::Result<()> {
        let (source, _) = self.find_file(from)?;
        let target = self.find(to, true)?;
        if rustix::fs::statat(self.within(&target)?, target.name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let root = self.folder()?;
        let (from, to) = (source.folder.as_ref(), target.folder.as_ref());
        Ok(rustix::fs::renameat(
            from.map_or(root, |fd| fd.as_fd()),
            source.name,
            to.map_or(root, |fd| fd.as_fd()),
            target.name,
        )?)
    }

    /// All files with their sizes, those of folders below by their paths; nothing in hidden folders.
    pub(super) fn list(&mut self) -> io::Result<Vec<(Vec<u8>, u64)>> {
        let mut files = Vec::new();
        list(self.folder()?, b"", DEEPEST, &mut files)?;
        Ok(files)
    }

    fn folder(&mut self) -> io::Result<BorrowedFd<'_>> {
        if self.folder.is_none() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            self.folder = Some(rustix::fs::open(&self.path, flags, 0.into())?);
        }
        Ok(self.folder.as_ref().expect("set above").as_fd())
    }

    fn within<'a>(&'a mut self, found: &'a Found<'_>) -> io::Result<BorrowedFd<'a>> {
        match &found.folder {
            Some(folder) => Ok(folder.as_fd()),
            None => self.folder(),
        }
    }

    /// A name that is a file's.
    fn find_file<'a>(&mut self, name: &'a [u8]) -> io::Result<(Found<'a>, Stat)> {
        let found = self.find(name, false)?;
        let stat = rustix::fs::statat(self.within(&found)?, found.name, AtFlags::SYMLINK_NOFOLLOW)?;
        if is_file(stat.st_mode) { Ok((found, stat)) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// Walks to a name's folder; makes the folders on the way, if told to: on the device there are none, slashes are
    /// letters of a name.
    fn find<'a>(&mut self, name: &'a [u8], create: bool) -> io::Result<Found<'a>> {
        let refused = || io::Error::from(io::ErrorKind::NotFound);
        let name = name.strip_prefix(DRIVE).unwrap_or(name);
        if name.first().is_none_or(|&first| first == b'/') || name.last() == Some(&b'/') {
            return Err(refused());
        }
        let mut parts: Vec<&OsStr> = Vec::new();
        for part in name.split(|&byte| byte == b'/') {
            match part {
                b".." => return Err(refused()),
                b"" | b"." => {}
                part => parts.push(OsStr::from_bytes(part)),
            }
        }
        let last = parts.pop().ok_or_else(refused)?;
        let mut at: Option<OwnedFd> = None;
        for part in parts {
            let folder = match &at {
                Some(folder) => folder.as_fd(),
                None => self.folder()?,
            };
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut below = rustix::fs::openat(folder, part, flags, 0.into());
            if create && matches!(below, Err(rustix::io::Errno::NOENT)) {
                rustix::fs::mkdirat(folder, part, 0o777.into())?;
                below = rustix::fs::openat(folder, part, flags, 0.into());
            }
            at = Some(below?);
        }
        Ok(Found { folder: at, name: last })
    }
}

fn is_file(mode: rustix::fs::RawMode) -> bool {
    FileType::from_raw_mode(mode) == FileType::RegularFile
}

fn list(
    folder: BorrowedFd<'_>,
    prefix: &[u8],
    deepest: usize,
    files: &mut Vec<(Vec<u8>, u64)>,
) -> io::Result<()> {
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        // A file that is gone meanwhile, or that we may not look at, is not in the list.
        let Ok(stat) = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let path = [prefix, name.to_bytes()].concat();
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => files.push((path, stat.st_size as u64)),
            FileType::Directory if deepest > 1 && !name.to_bytes().starts_with(b".") => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let Ok(below) = rustix::fs::openat(folder, name, flags, 0.into()) else { continue };
                list(below.as_fd(), &[&path[..], b"/"].concat(), deepest - 1, files)?;
            }
            _ => {}
        }
    }
    Ok(())
}
