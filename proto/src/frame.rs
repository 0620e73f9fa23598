//! The payload of one gRPC message, not decoded.

use prost::bytes::{Buf, BufMut, Bytes};
use prost::encoding::{DecodeContext, WireType};
use prost::{DecodeError, Message};

/// The bytes of one message whose type only the two ends know.
///
/// `FileSend.DiffCopy` is declared with one type, while what travels depends on the exporter that was asked for:
/// [`crate::control::BytesMessage`] or [`crate::fsutil::Packet`]. Encode such a message into a frame, or decode it from
/// one, with [`Frame::pack`] and [`Frame::unpack`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame(pub Bytes);

impl Frame {
    /// The frame of `message`.
    pub fn pack(message: &impl Message) -> Self {
        Self(message.encode_to_vec().into())
    }

    /// The message in this frame. The error says what of the bytes does not fit `M`.
    pub fn unpack<M: Message + Default>(self) -> Result<M, DecodeError> {
        M::decode(self.0)
    }
}

impl Message for Frame {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        buf.put_slice(&self.0);
    }

    // Only reached through nesting, which a frame does not allow: decoding takes the whole payload below.
    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        prost::encoding::skip_field(wire_type, tag, buf, ctx)
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn clear(&mut self) {
        self.0.clear();
    }

    fn decode(mut buf: impl Buf) -> Result<Self, DecodeError> {
        Ok(Self(buf.copy_to_bytes(buf.remaining())))
    }

    fn merge(&mut self, mut buf: impl Buf) -> Result<(), DecodeError> {
        self.0 = buf.copy_to_bytes(buf.remaining());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::BytesMessage;
    use crate::fsutil::Packet;

    #[test]
    fn a_frame_has_the_bytes_of_its_message() {
        let message = BytesMessage {
            data: Bytes::from_static(b"abc"),
        };
        let frame = Frame::pack(&message);
        assert_eq!(frame.encode_to_vec(), message.encode_to_vec());
        let received = Frame::decode(frame.encode_to_vec().as_slice()).unwrap();
        assert_eq!(received.unpack::<BytesMessage>().unwrap(), message);
    }

    #[test]
    fn a_frame_of_another_type_is_refused() {
        let packet = Packet {
            id: 7,
            r#type: 2,
            ..Packet::default()
        };
        assert!(Frame::pack(&packet).unpack::<BytesMessage>().is_err());
    }
}
