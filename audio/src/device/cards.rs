//! A keeper's view of the real sound system.

use cpal::{Host, HostId, Stream, traits::HostTrait as _};

use super::{
    DeviceError, Direction, find,
    keeper::{Bell, Cards, Open, Standing},
    trouble,
};

/// Opens a device as a flow.
pub(super) type OpenFlow<F> =
    fn(&cpal::Device, &cpal::SupportedStreamConfig, &Bell) -> Result<(Stream, F), DeviceError>;

/// What was asked for, and the sound system that has it.
pub(super) struct SystemCards<F> {
    direction: Direction,
    /// The name; the default device without one.
    choice: Option<String>,
    open_flow: OpenFlow<F>,
    /// The connection to the sound system, kept: cpal's ends only with the server.
    host: Option<Host>,
    /// The sound system that was used at first, so that its restart does not drive us elsewhere.
    host_id: Option<HostId>,
    /// The identifier of the device that was opened last.
    id: String,
}

impl<F> SystemCards<F> {
    pub(super) fn new(direction: Direction, choice: Option<String>, open_flow: OpenFlow<F>) -> Self {
        Self { direction, choice, open_flow, host: None, host_id: None, id: String::new() }
    }

    fn host(&mut self) -> Option<&Host> {
        if self.host.as_ref().is_none_or(|host| host.devices().is_err()) {
            self.host = match self.host_id {
                None => Some(find::host()),
                Some(id) => find::host_again(id),
            };
            self.host_id = self.host_id.or(self.host.as_ref().map(Host::id));
        }
        self.host.as_ref()
    }
}

impl<F> Cards for SystemCards<F> {
    type Stream = Stream;
    type Flow = F;

    fn open(&mut self, bell: Bell) -> Result<(Stream, Open<F>), DeviceError> {
        find::hush();
        let (direction, open_flow) = (self.direction, self.open_flow);
        let (choice, known) = (self.choice.clone(), self.id.clone());
        let host = self.host().ok_or_else(|| trouble::none(direction))?;
        let device = match choice {
            // What was meant by a part of a name is known now, and shall not be something else later.
            Some(_) if !known.is_empty() => {
                find::find_id(host, direction, &known).ok_or_else(|| trouble::none(direction))?
            }
            choice => find::find(host, direction, choice.as_deref())?,
        };
        let config = super::stream::config_of(&device, direction)?;
        let (stream, flow) = open_flow(&device, &config, &bell)?;
        self.id = find::id_of(&device);
        let name = find::name_of(&device).unwrap_or_else(|| self.id.clone());
        Ok((stream, Open { flow, name, id: self.id.clone(), bell }))
    }

    fn standing(&mut self) -> Standing {
        let Some(host) = self.host.as_ref().filter(|host| find::must_be_watched(host)) else {
            return Standing::Same;
        };
        let ids: Vec<String> = match &self.choice {
            None => find::default_device(host, self.direction).iter().map(find::id_of).collect(),
            Some(_) => {
                find::devices(host, self.direction).into_iter().flatten().map(|named| named.id).collect()
            }
        };
        if ids.contains(&self.id) {
            Standing::Same
        } else if self.choice.is_some() || ids.is_empty() {
            Standing::Missing
        } else {
            Standing::Moved
        }
    }
}
