import Testing

/// The built server, asked over real sockets. Each suite runs its own tests one after the other and says so
/// (`.serialized`), and takes its turn among the suites (`.sideBySide`, or what gives it a server).
@Suite("The live server", .timeLimit(.minutes(30)))
enum ServerTests {}
