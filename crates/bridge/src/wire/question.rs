//! Questions as bytes.

use wsgi_core::wire::{Malformed, Reader, Writer};

use super::Fields;
use crate::{Bytes, Kind, Question, QuestionRoute, RequestFacts, Tag, Topic};

impl Question<'_> {
    /// Appends the question to `buffer`, as a call of its [`Kind`], without `request_rec`, which
    /// means nothing elsewhere.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        let mut writer = Writer::new(buffer);
        writer.u32(Kind::Question as u32);
        self.facts.encode(&mut writer);
        writer.u32(self.topic);
        writer.u32(self.time_limit);
        let route = &self.route;
        let [first, second] = self.arguments;
        for text in [
            first,
            second,
            route.request_handler,
            route.handler_script,
            route.script_name,
            route.path_info,
            route.mount_point,
        ] {
            writer.optional(text.get());
        }
    }
}

impl<'a> Question<'a> {
    /// Takes a question from `reader`.
    ///
    /// # Errors
    /// The message is no question, or a call of another kind.
    pub fn decode(reader: &mut Reader<'a>, fields: &'a mut Fields<'a>) -> Result<Self, Malformed> {
        let Some(Kind::Question) = Kind::from_number(reader.u32()?) else { return Err(Malformed) };
        let facts = RequestFacts::decode(reader, fields)?;
        let (topic, time_limit) = (reader.u32()?, reader.u32()?);
        Topic::from_number(topic).ok_or(Malformed)?;
        let mut text = || reader.optional().map(Bytes::optional);
        Ok(Self {
            tag: Tag::of::<Question<'_>>(),
            facts,
            topic,
            time_limit,
            arguments: [text()?, text()?],
            route: QuestionRoute {
                request_handler: text()?,
                handler_script: text()?,
                script_name: text()?,
                path_info: text()?,
                mount_point: text()?,
            },
        })
    }
}
