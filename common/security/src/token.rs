//! Token: the secret that actors and learner share.

use super::SecurityError;
use std::{fmt, fs::File, io::Read, path::Path, sync::Arc};
use subtle::ConstantTimeEq;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::Interceptor,
};
use tracing::warn;

/// Shorter ones can be guessed.
const SHORTEST: usize = 16;
/// A request's headers have room for this and more.
const LONGEST: usize = 1024;
/// Before the token in the header `authorization`.
const SCHEME: &str = "Bearer ";

/// A shared secret. It is never printed, and compared in constant time.
#[derive(Clone)]
pub struct Token(Arc<str>);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// A token, without the white space around it.
    ///
    /// # Errors
    /// Says why it is refused: too short, too long, or not visible ASCII.
    pub fn new(text: &str) -> Result<Token, &'static str> {
        let text = text.trim();
        match text.len() {
            0 => Err("it is empty"),
            1..SHORTEST => Err("it has fewer than 16 characters"),
            SHORTEST..=LONGEST if text.bytes().all(|b| b.is_ascii_graphic()) => Ok(Token(text.into())),
            SHORTEST..=LONGEST => Err("it has other characters than letters, digits and punctuation"),
            _ => Err("it has more than 1024 characters"),
        }
    }

    /// Reads a token file.
    ///
    /// # Errors
    /// [`SecurityError::Unreadable`] and [`SecurityError::Token`], with the file's name.
    pub fn load(path: &Path) -> Result<Token, SecurityError> {
        let name = || path.display().to_string();
        let mut bytes = Vec::new();
        // No more than it takes to see that it is too long: the file may be anything.
        let read = File::open(path).and_then(|file| {
            if open_to_others(&file) {
                let path = path.display();
                warn!("every user of this machine can read the token file {path}: `chmod o= {path}` keeps them out");
            }
            file.take(2 * LONGEST as u64).read_to_end(&mut bytes)
        });
        read.map_err(|source| SecurityError::unreadable("the token file", path, source))?;
        let text = str::from_utf8(&bytes).map_err(|_| "it is not text");
        text.and_then(Token::new).map_err(|reason| SecurityError::Token { path: name(), reason })
    }

    /// Whether the value of an `authorization` header carries this token. How long that takes tells no more than the
    /// token's length.
    pub fn is_in(&self, authorization: &[u8]) -> bool {
        let token = authorization.strip_prefix(SCHEME.as_bytes());
        token.is_some_and(|token| token.ct_eq(self.0.as_bytes()).into())
    }
}

/// Whether whoever has an account here can read a file.
fn open_to_others(file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.mode() & 0o004 != 0)
}

/// Puts a token, if there is one, into the header `authorization` of every request.
#[derive(Clone, Debug, Default)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl From<Option<&Token>> for Bearer {
    fn from(token: Option<&Token>) -> Bearer {
        Bearer(token.map(|token| {
            let mut value: MetadataValue<Ascii> =
                format!("{SCHEME}{}", token.0).parse().expect("tokens are visible ASCII");
            // Debug prints it no more, and the header compression does not remember it.
            value.set_sensitive(true);
            value
        }))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "correct-horse-battery-staple";

    #[test]
    fn files_with_a_weak_token_are_refused_by_name() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("token");
        for (content, reason) in [
            (&b""[..], "empty"),
            (b" \n", "empty"),
            (b"short", "fewer than 16"),
            (b"0123456789 abcdef", "other characters"),
            ("0123456789abcdefé".as_bytes(), "other characters"),
            (b"0123456789abcdef\xff", "not text"),
            (&[b'x'; 1025], "more than 1024"),
            (&[b'x'; 100_000], "more than 1024"),
        ] {
            std::fs::write(&path, content).unwrap();
            let said = Token::load(&path).unwrap_err().to_string();
            assert!(said.contains(reason) && said.contains(path.to_str().unwrap()), "{said}");
        }
        let said = Token::load(&folder.path().join("nowhere")).unwrap_err().to_string();
        assert!(said.contains("nowhere") && said.contains("token file"), "{said}");
        std::fs::write(&path, format!(" {SECRET}\r\n")).unwrap();
        assert!(Token::load(&path).unwrap().is_in(format!("Bearer {SECRET}").as_bytes()));
    }

    #[test]
    fn only_the_whole_token_matches_and_it_is_never_printed() {
        let token = Token::new(SECRET).unwrap();
        let mut bearer = Bearer::from(Some(&token));
        let request = bearer.call(Request::new(())).unwrap();
        let header = request.metadata().get("authorization").unwrap();
        assert!(token.is_in(header.as_bytes()));
        for other in ["", "Bearer", "Bearer ", SECRET, "Bearer correct-horse-battery-stapl", "bearer x"] {
            assert!(!token.is_in(other.as_bytes()), "{other}");
        }
        assert!(!token.is_in(format!("Bearer {SECRET}x").as_bytes()));
        assert!(!token.is_in(format!("Bearer {}", SECRET.to_uppercase()).as_bytes()));
        let printed = format!("{token:?} {bearer:?} {request:?}");
        assert!(!printed.contains("horse"), "{printed}");
        let silent = Bearer::default().call(Request::new(())).unwrap();
        assert!(silent.metadata().is_empty());
    }

    #[test]
    fn a_file_that_everybody_can_read_is_noticed() {
        use std::os::unix::fs::PermissionsExt;
        let file = tempfile::NamedTempFile::new().unwrap();
        for (mode, open) in [(0o600, false), (0o640, false), (0o644, true), (0o604, true)] {
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(open_to_others(&File::open(file.path()).unwrap()), open, "{mode:o}");
        }
        // A device or a pipe is nobody's secret.
        assert!(!open_to_others(&File::open("/dev/null").unwrap()));
    }
}
