//! The server's loop: sockets on one side, [`chinwag_proto::server::Server`] on the other; beside it, in a thread of its own,
//! the relay's.
//!
//! A wake-up drains every ready socket until it would block, then flushes once. Work for one connection in one wake-up
//! is bounded, so that nobody can keep the loop to himself.

mod api;
mod arrivals;
mod classic;
mod crowd;
mod fanout;
mod gateway;
mod keeper;
mod losses;
mod outlet;
mod peers;
mod relay;
mod sockets;
mod speech;
mod voices;

use std::{
    io::{self, Read as _},
    net::SocketAddr,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

use chinwag_proto::{
    Duration, Instant, Peer, Rng, limits,
    outbox::Overflow,
    server::{Input, Output, Server},
};
use mio::{Events, Interest, Poll, Token, Waker};

use self::{
    api::WAITING_ORDERS,
    gateway::ClassicVoice,
    keeper::{Answer, Keeper},
    losses::Reporter,
    peers::{ALL_QUEUES_BYTES, Peers},
    relay::{HandedBack, RelayHandle, RelayLoop},
    sockets::Listener,
};
pub use self::{
    api::{
        ListenError, Observation, OperatorHandle, Order, PcmPace, ServerOptions, Service, VoiceGateway,
        VoiceOut,
    },
    crowd::PENDING_PER_ADDRESS,
    losses::Losses,
    relay::VoiceStats,
};
use crate::{clock, heap, history::OpenedStore, identity::Identity, signals, stream::ReadEnd};

const SIGNAL: Token = Token(0);
const WAKER: Token = Token(1);
/// One token for each listener, then one for each connection.
const FIRST_LISTENER: usize = 2;
const FIRST_PEER: usize = 1 << 16;
/// Then one for each voice socket of classic programs.
const FIRST_VOICE: usize = 1 << 24;

/// Bytes read from one connection before the others have their turn.
const READ_BUDGET: usize = 128 * 1024;
/// What a read costs of that at least: many small TLS records are more work than few large ones.
const READ_COST: usize = 2 * 1024;
/// What the relay handed back and is done before connections have their turn.
const BACK_BUDGET: usize = 64;
/// How often it is asked what the calendar says: a message's time is right to within that when somebody sets the clock.
const CALENDAR_INTERVAL: Duration = Duration::from_secs(1);
/// Between two words on a store that does not work.
const STORE_TROUBLE_INTERVAL: Duration = Duration::from_secs(60);
/// When the server stops, peers have so long to read what was sent.
const STOP_LINGER: Duration = Duration::from_secs(2);

/// A server with its sockets.
#[derive(Debug)]
pub struct ServerLoop {
    poll: Poll,
    waker: Arc<Waker>,
    orders: Receiver<Order>,
    give_order: SyncSender<Order>,
    signals: mio::net::UnixStream,
    listeners: Vec<Listener>,
    identity: Identity,
    server: Server,
    peers: Peers,
    /// The voice of classic programs, if there is any.
    classic_voice: Option<ClassicVoice>,
    /// The lasting history, if there is one.
    keeper: Option<Keeper>,
    /// When the operator was told last that it does not work, as long as it does not.
    store_trouble: Option<Instant>,
    /// The same of what is read, and of what is forgotten.
    history_trouble: Option<Instant>,
    calendar_due: Instant,
    /// The relay's loop, until this one runs.
    relay_loop: Option<RelayLoop>,
    relay: RelayHandle,
    /// It may have handed back more than one turn took.
    has_back: bool,
    /// Voice that connections were too slow for.
    voice_dropped: u64,
    /// Connections with more to read than their budget allowed.
    unread: Vec<Peer>,
    /// Connections with something to write.
    unflushed: Vec<Peer>,
    /// Connections with more waiting than they may have.
    overflowed: Vec<Peer>,
    accept_again: Option<Instant>,
    /// The last time that the system had no connection to give.
    accept_failed: Option<Instant>,
    losses: Losses,
    reporter: Reporter,
    stopping: Option<Instant>,
    buffer: Vec<u8>,
}

impl ServerLoop {
    /// Opens the sockets.
    ///
    /// # Errors
    /// [`ListenError`] within [`io::Error`] for an address that cannot be had; else what the system said.
    pub fn bind(options: ServerOptions) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let (give_order, orders) = sync_channel(WAITING_ORDERS);
        let signals = signals::stream()?;
        let mut signals = mio::net::UnixStream::from_std(signals);
        poll.registry().register(&mut signals, SIGNAL, Interest::READABLE)?;
        let (mut listeners, mut udp) = (Vec::new(), Vec::new());
        let all = [
            (Service::Native, options.listen),
            (Service::ClassicText, options.classic_text),
            (Service::ClassicVoice, options.classic_voice),
        ];
        let all = all.into_iter().flat_map(|(service, at)| at.into_iter().map(move |at| (service, at)));
        for (service, address) in all {
            let mut listener = Listener::bind(address, service)
                .map_err(|error| io::Error::other(ListenError { address, service, error }))?;
            let token = FIRST_LISTENER + listeners.len();
            poll.registry().register(&mut listener.tcp, Token(token), Interest::READABLE)?;
            udp.extend(listener.udp.take());
            listeners.push(listener);
        }
        let (relay_loop, relay) =
            RelayLoop::new(udp, options.voice_threads.get() - 1, options.voice_hold, Arc::clone(&waker))?;
        let most = options.max_clients.min(limits::SESSIONS) + limits::PENDING_HELLOS;
        Ok(Self {
            poll,
            waker,
            orders,
            give_order,
            signals,
            listeners,
            identity: options.identity,
            server: Server::new(options.max_clients, Rng::from_seed(clock::random_seed()?)),
            peers: Peers::new(most, ALL_QUEUES_BYTES),
            classic_voice: None,
            keeper: None,
            store_trouble: None,
            history_trouble: None,
            calendar_due: Instant::ZERO,
            relay_loop: Some(relay_loop),
            relay,
            has_back: false,
            voice_dropped: 0,
            unread: Vec::new(),
            unflushed: Vec::new(),
            overflowed: Vec::new(),
            accept_again: None,
            accept_failed: None,
            losses: Losses::default(),
            reporter: Reporter::default(),
            stopping: None,
            buffer: vec![0; 16 * 1024],
        })
    }

    /// The addresses in use for a service, in the order in which they were asked for.
    pub fn addresses(&self, service: Service) -> impl Iterator<Item = SocketAddr> {
        let listeners = self.listeners.iter().filter(move |listener| listener.service == service);
        listeners.map(|listener| listener.address)
    }

    /// A handle by which the operator gives orders.
    pub fn operator_handle(&self) -> OperatorHandle {
        OperatorHandle { waker: Arc::clone(&self.waker), orders: self.give_order.clone() }
    }

    /// From now on what is said is told to the operator as well.
    pub fn seat_operator(&mut self) {
        self.server.seat_operator();
    }

    /// From now on what is said is kept by this store before anybody is told.
    ///
    /// # Errors
    /// When the system gives no thread, or the store cannot be read.
    pub fn keep_history(&mut self, opened: OpenedStore) -> io::Result<()> {
        self.keeper = Some(Keeper::start(opened.store, &self.waker)?);
        self.server.restore(opened.rooms);
        Ok(())
    }

    /// The machine, for its counters.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// What was dropped, and who was turned away, since the start.
    pub fn losses(&self) -> Losses {
        self.losses
    }

    /// What became of voice, as of a moment ago; all of it once the server has stopped.
    pub fn voice_stats(&self) -> VoiceStats {
        let mut stats = self.relay.stats();
        stats.voice_dropped += self.voice_dropped;
        stats
    }

    /// Serves until SIGTERM, SIGINT or [`Order::Stop`]; then everybody is told and the sockets close.
    ///
    /// # Errors
    /// When the system's readiness notification fails, or gives no thread, or when the history's disk hangs at the end; never through the fault of a peer.
    pub fn run(&mut self, observe: &mut dyn FnMut(Observation<'_>)) -> io::Result<()> {
        let Some(relay) = self.relay_loop.take() else {
            return Err(io::Error::other("it has run already"));
        };
        let thread = relay.start()?;
        let result = self.serve(observe);
        self.relay.stop();
        let result = result.and(self.keeper.take().map_or(Ok(()), Keeper::finish));
        let ended = thread.join().unwrap_or_else(|_| Err(io::Error::other("the relay has failed")));
        // What came first is the cause of the other, if there is one.
        ended.and(result)
    }

    fn serve(&mut self, observe: &mut dyn FnMut(Observation<'_>)) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            let now = clock::now();
            if self.relay.is_gone() || self.stopping.is_some_and(|due| now >= due || self.peers.is_empty()) {
                return Ok(());
            }
            match self.poll.poll(&mut events, self.patience(now)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            let now = clock::now();
            if now >= self.calendar_due {
                self.server.set_calendar(now, clock::calendar());
                self.calendar_due = now + CALENDAR_INTERVAL;
            }
            self.take_back(now, observe);
            self.take_answers(now, observe)?;
            for event in &events {
                match event.token() {
                    SIGNAL => self.stop(now, observe),
                    WAKER => self.take_orders(now, observe),
                    Token(token) if token >= FIRST_VOICE => {
                        self.voice_ready(now, token - FIRST_VOICE, observe);
                    }
                    Token(token) if token >= FIRST_PEER => {
                        let Some(peer) = self.peers.handle(token - FIRST_PEER) else { continue };
                        if event.is_readable() || event.is_read_closed() || event.is_error() {
                            self.read(now, peer, observe);
                        }
                        if event.is_writable()
                            && let Some(connection) = self.peers.get_mut(peer)
                        {
                            connection.flush_later(peer, &mut self.unflushed);
                        }
                    }
                    Token(token) => {
                        self.accept(now, token - FIRST_LISTENER, observe);
                    }
                }
            }
            self.catch_up(now, observe);
            self.relay.wake();
            if let Some(keeper) = &mut self.keeper {
                keeper.flush();
            }
            self.flush(now, observe);
            // Who was lost by that has left.
            self.relay.wake();
            if self.peers.is_burst_over() {
                heap::give_back();
            }
            self.report(now, observe);
        }
    }

    /// How long to sleep.
    fn patience(&self, now: Instant) -> Option<Duration> {
        if self.has_back
            || !self.unread.is_empty()
            || self.listeners.iter().any(|listener| listener.has_connections)
        {
            return Some(Duration::ZERO);
        }
        let peers = [self.peers.next_cut(), self.peers.next_pace()];
        let voice = self.classic_voice.as_ref().and_then(ClassicVoice::poll_timeout);
        let timers = [self.server.poll_timeout(), self.reporter.due(), voice];
        let due =
            timers.into_iter().chain(peers).chain([self.accept_again, self.stopping]).flatten().min()?;
        // The system counts in milliseconds: rounding up avoids a turn that comes too early to do anything.
        let millis = due.since(now).as_micros().div_ceil(1000);
        Some(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
    }

    /// What is due without an event: timers, what was left over, connections to cut.
    fn catch_up(&mut self, now: Instant, observe: &mut dyn FnMut(Observation<'_>)) {
        for peer in std::mem::take(&mut self.unread) {
            self.read(now, peer, observe);
        }
        for index in 0..self.listeners.len() {
            if self.listeners.get(index).is_some_and(|listener| listener.has_connections) {
                self.accept(now, index, observe);
            }
        }
        if self.accept_again.is_some_and(|due| due <= now) {
            self.accept_again = None;
            for index in 0..self.listeners.len() {
                self.accept(now, index, observe);
            }
        }
        if self.server.poll_timeout().is_some_and(|due| due <= now) {
            self.server.handle_timeout(now);
            self.carry_out(now, observe);
        }
        while let Some(peer) = self.peers.pop_cut(now) {
            self.remove(peer);
        }
        self.peers.end_pauses(now, &mut self.unflushed);
        self.turn_voice(now, observe);
    }

    /// Does what the relay handed back, within its budget.
    fn take_back(&mut self, now: Instant, observe: &mut dyn FnMut(Observation<'_>)) {
        self.has_back = false;
        for _ in 0..BACK_BUDGET {
            let Some(back) = self.relay.handed_back() else { return };
            let input = match &back {
                HandedBack::Voice { payload, to } => Input::Voice { payload, to },
                HandedBack::Alive(session, at) => Input::Alive { session: *session, at: *at },
            };
            self.server.handle_input(now, input);
            self.carry_out(now, observe);
        }
        self.has_back = true;
    }

    /// Takes what the store answered.
    fn take_answers(&mut self, now: Instant, observe: &mut dyn FnMut(Observation<'_>)) -> io::Result<()> {
        let Some(mut keeper) = self.keeper.take() else { return Ok(()) };
        let mut result = Ok(());
        let mut answers = Vec::new();
        loop {
            match keeper.answer() {
                Ok(Some(answer)) => answers.push(answer),
                Ok(None) => break,
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        self.keeper = Some(keeper);
        for answer in answers {
            let input = match &answer {
                &Answer::Kept { run, count } => {
                    if self.store_trouble.take().is_some() {
                        observe(Observation::StoreWorks);
                    }
                    Input::Kept { run, count }
                }
                Answer::NotKept { run, why, error } => {
                    if is_to_be_told(&mut self.store_trouble, now) {
                        observe(Observation::StoreFailed(error));
                    }
                    Input::NotKept { run: *run, why: *why }
                }
                &Answer::Expired { room, before } => Input::Expired { room, before },
                Answer::Read { ticket, found } => {
                    if let Err(error) = found
                        && is_to_be_told(&mut self.history_trouble, now)
                    {
                        observe(Observation::HistoryTrouble(error));
                    }
                    Input::Read { ticket: *ticket, found: found.as_deref().ok() }
                }
                Answer::Untidy(error) => {
                    if is_to_be_told(&mut self.history_trouble, now) {
                        observe(Observation::HistoryTrouble(error));
                    }
                    continue;
                }
            };
            self.server.handle_input(now, input);
            self.carry_out(now, observe);
            // A batch is told to many: what it was is on its way before the next one is.
            self.flush(now, observe);
        }
        result
    }

    fn take_orders(&mut self, now: Instant, observe: &mut dyn FnMut(Observation<'_>)) {
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Say(text) => {
                    self.server.handle_input(now, Input::Announce { text: &text });
                    if self.server.hub().members() == 0 {
                        // So nobody heard it.
                        observe(Observation::Members(&[]));
                    }
                }
                Order::Remove(name) => match self.server.hub().session_named(&name) {
                    Some(session) => self.server.handle_input(now, Input::Remove { session }),
                    None => observe(Observation::NobodyNamed(&name)),
                },
                Order::Who => {
                    let hub = self.server.hub();
                    let names = |room| hub.members_of(room).map(|person| person.name.to_string()).collect();
                    let rooms = hub.room_names().map(|(room, name)| (name.to_string(), names(room)));
                    let rooms: Vec<(String, Vec<String>)> = rooms.collect();
                    observe(Observation::Members(&rooms));
                }
                Order::Stop => self.stop(now, observe),
            }
            self.carry_out(now, observe);
        }
    }

    fn stop(&mut self, now: Instant, observe: &mut dyn FnMut(Observation<'_>)) {
        // What was written only had to wake us.
        let _ = self.signals.read(&mut [0; 64]);
        if self.stopping.is_some() {
            // Asked twice: no more patience.
            self.stopping = Some(now);
        } else {
            self.stopping = Some(now + STOP_LINGER);
            for listener in &mut self.listeners {
                // Nobody else is to wait in a queue that is not served any more.
                let _ = self.poll.registry().deregister(&mut listener.tcp);
                listener.has_connections = false;
            }
            self.server.handle_input(now, Input::Shutdown);
            self.carry_out(now, observe);
        }
    }

    fn read(&mut self, now: Instant, peer: Peer, observe: &mut dyn FnMut(Observation<'_>)) {
        let mut budget = READ_BUDGET;
        loop {
            let Some(connection) = self.peers.get_mut(peer) else { return };
            if connection.is_closing {
                match connection.stream.discard(&mut self.buffer, budget) {
                    ReadEnd::Drained => {}
                    ReadEnd::More => self.unread.push(peer),
                    ReadEnd::Eof | ReadEnd::Failed(_) => self.remove(peer),
                }
                return;
            }
            if connection.is_paused {
                return;
            }
            let end = match connection.stream.read(&mut self.buffer) {
                Ok(count) => {
                    budget = budget.saturating_sub(count.max(READ_COST));
                    let bytes = self.buffer.get(..count).unwrap_or_default();
                    self.server.handle_input(now, Input::Received { peer, bytes });
                    self.carry_out(now, observe);
                    if budget > 0 {
                        continue;
                    }
                    ReadEnd::More
                }
                Err(end) => end,
            };
            // The handshake has its own bytes to answer with.
            if let Some(connection) = self.peers.get_mut(peer) {
                connection.flush_later(peer, &mut self.unflushed);
            }
            let error = match end {
                ReadEnd::Drained => return,
                ReadEnd::More => return self.unread.push(peer),
                ReadEnd::Eof => None,
                ReadEnd::Failed(error) => Some(error),
            };
            return self.lose(now, peer, error.as_ref(), observe);
        }
    }

    fn lose(
        &mut self,
        now: Instant,
        peer: Peer,
        error: Option<&io::Error>,
        observe: &mut dyn FnMut(Observation<'_>),
    ) {
        let Some(connection) = self.peers.get_mut(peer) else { return };
        let (from, was_closing) = (connection.from, connection.is_closing);
        if !was_closing {
            observe(Observation::Lost { from, error });
            self.server.handle_input(now, Input::Closed { peer });
            self.carry_out(now, observe);
        }
        self.remove(peer);
    }

    /// Does what the machine wants done, until it wants nothing more.
    fn carry_out(&mut self, now: Instant, observe: &mut dyn FnMut(Observation<'_>)) {
        loop {
            self.drain(now, observe);
            let peer = self.overflowed.pop().or_else(|| {
                let greediest = self.peers.greediest();
                self.losses.queues_full += u64::from(greediest.is_some());
                greediest
            });
            let Some(peer) = peer else { return };
            self.server.handle_input(now, Input::Overflowed { peer });
            self.drain(now, observe);
            // Whoever does not read would not read a goodbye either; what waits for him is freed at once.
            self.remove(peer);
        }
    }

    fn drain(&mut self, now: Instant, observe: &mut dyn FnMut(Observation<'_>)) {
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Send { bytes, class, to } => {
                    for &peer in to {
                        match self.peers.queue(peer, class, bytes, &mut self.unflushed) {
                            Ok(dropped) => self.voice_dropped += dropped,
                            Err(Overflow) => self.overflowed.push(peer),
                        }
                    }
                }
                Output::Relay(order) => self.relay.order(now, order),
                Output::OpenPath { peer, session, room } => {
                    let connection = self.peers.get_mut(peer);
                    let seal = connection.and_then(|connection| connection.stream.seal());
                    self.relay.open(session, room, seal);
                    self.peers.settle(peer, session);
                    gateway::open(&mut self.classic_voice, &mut self.peers, now, peer);
                }
                Output::Overheard { payload } => {
                    if let Some(voice) = &mut self.classic_voice {
                        voice.hear(now, payload);
                    }
                }
                Output::Pause { peer } => {
                    if let Some(connection) = self.peers.get_mut(peer) {
                        connection.is_paused = true;
                    }
                }
                Output::Unpause { peer } => {
                    if let Some(connection) = self.peers.get_mut(peer) {
                        connection.is_paused = false;
                        self.unread.push(peer);
                    }
                }
                Output::Close { peer, cause } => {
                    gateway::close(&mut self.classic_voice, &mut self.peers, peer);
                    if let Some(connection) = self.peers.get_mut(peer) {
                        observe(Observation::Closed { from: connection.from, cause: &cause });
                        connection.is_closing = true;
                        connection.flush_later(peer, &mut self.unflushed);
                        self.peers.cut_later(peer, now + limits::CLOSE_LINGER);
                    }
                }
                Output::Report { talker, report } => {
                    if let Some(voice) = &mut self.classic_voice {
                        voice.reported(now, talker, report);
                    }
                }
                Output::Keep { run, write } => {
                    if let Some(keeper) = &mut self.keeper {
                        keeper.keep(run, write);
                    }
                }
                Output::Read { ticket, what } => {
                    if let Some(keeper) = &mut self.keeper {
                        keeper.read(ticket, what);
                    }
                }
                Output::Unread { ticket } => {
                    if self.keeper.as_mut().is_some_and(|keeper| keeper.leaves_unread(ticket)) {
                        self.server.handle_input(now, Input::Read { ticket, found: None });
                    }
                }
                Output::Event(event) => observe(Observation::Event(&event)),
            }
        }
    }

    /// Sends what this wake-up produced.
    fn flush(&mut self, now: Instant, observe: &mut dyn FnMut(Observation<'_>)) {
        // Losing a connection tells others, who are then to be flushed too.
        while !self.unflushed.is_empty() {
            for peer in std::mem::take(&mut self.unflushed) {
                let Some(connection) = self.peers.get_mut(peer) else { continue };
                connection.will_be_flushed = false;
                match self.peers.flush(now, peer) {
                    Ok(true) => self.finish(peer),
                    Ok(false) => {}
                    Err(error) => self.lose(now, peer, Some(&error), observe),
                }
            }
        }
    }

    /// Says the end to a closing connection once all was written.
    fn finish(&mut self, peer: Peer) {
        if let Some(connection) = self.peers.get_mut(peer).filter(|c| c.is_closing && !c.is_finished) {
            connection.is_finished = true;
            connection.stream.finish();
        }
    }

    /// Tells the operator what was lost, now and then.
    fn report(&mut self, now: Instant, observe: &mut dyn FnMut(Observation<'_>)) {
        self.losses.note(&self.voice_stats(), &self.server.stats());
        self.reporter.look(now, &self.losses);
        if let Some(losses) = self.reporter.report(now, &self.losses) {
            observe(Observation::Lossy(&losses));
        }
    }

    fn remove(&mut self, peer: Peer) {
        gateway::close(&mut self.classic_voice, &mut self.peers, peer);
        if let Some(mut connection) = self.peers.remove(peer) {
            // Dropping the socket closes it; the registration goes with it.
            let _ = self.poll.registry().deregister(connection.stream.socket_mut());
        }
    }
}

/// True when it was not told for a while.
fn is_to_be_told(told: &mut Option<Instant>, now: Instant) -> bool {
    let is_due = told.is_none_or(|told| now >= told + STORE_TROUBLE_INTERVAL);
    if is_due {
        *told = Some(now);
    }
    is_due
}
