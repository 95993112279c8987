//! Frames: whatever can be parsed is emitted as the same again, and parses as the same.

use xblade::wire::aoe::Header;
use xblade::wire::{Body, DropReason, Request, Response, mask, reserve};

/// More than any frame without data.
const ROOM: usize = 4096;

/// The first byte says how long the frame is besides its first piece, in units of 64 bytes.
pub fn run(data: &[u8]) {
    let Some((more, frame)) = data.split_first() else { return };
    if let Ok(response) = Response::parse(frame) {
        let _ = (response.query(), response.ata(), response.refusal());
    }
    let Ok(header) = Header::parse(frame) else { return };
    assert!(header.argument_offset() <= frame.len(), "the header ends inside the frame");
    let total_len = frame.len() + usize::from(*more) * 64;
    let Ok(request) = Request::parse(&header, frame, total_len) else { return };
    let is_overrun =
        matches!(request.body, Body::Reserve(reserve::Request::Overrun) | Body::Mask(mask::Request::Overrun));
    let mut out = vec![0xEE; ROOM + total_len];
    let Some(len) = request.emit(&mut out) else {
        assert!(is_overrun, "no room for {request:?}");
        return;
    };
    assert!(len >= 60, "{len} bytes of {request:?}");
    let again = Header::parse(&out).expect("the header that was emitted");
    assert_eq!(again, header);
    assert_eq!(
        Request::parse(&again, &out, len.max(total_len)).map(|same| same.body),
        whole(&request, len, total_len)
    );
}

/// The same body. The data of an ATA command reaches to the end of the frame, padding included.
fn whole<'a>(request: &Request<'a>, len: usize, total_len: usize) -> Result<Body<'a>, DropReason> {
    Ok(match request.body {
        Body::Ata { ata, payload_offset, .. } => {
            let payload_len = len.max(total_len) - payload_offset;
            Body::Ata { ata, payload_offset, payload_len }
        }
        body => body,
    })
}
