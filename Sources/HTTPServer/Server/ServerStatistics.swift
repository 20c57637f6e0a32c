import Synchronization

/// What a server did since it started.
public final class ServerStatistics: Sendable {
    private let sendfile = Atomic<Int64>(0)
    private let read = Atomic<Int64>(0)

    public init() {}

    /// Bytes of files that the system was asked to send (sendfile).
    public var sentBySystem: Int64 { sendfile.load(ordering: .relaxed) }
    /// Bytes of files that were read by this process and written.
    public var sentByReading: Int64 { read.load(ordering: .relaxed) }

    func addSystem(_ bytes: Int) { sendfile.wrappingAdd(Int64(bytes), ordering: .relaxed) }
    func addRead(_ bytes: Int) { read.wrappingAdd(Int64(bytes), ordering: .relaxed) }
}
