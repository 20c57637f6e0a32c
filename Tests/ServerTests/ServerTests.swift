import Testing

/// The built server, asked over real sockets. One suite after the other, since each starts servers and the machine may
/// have two cores.
@Suite("The live server", .timeLimit(.minutes(30)))
enum ServerTests {}
