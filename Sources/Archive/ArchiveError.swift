import CLinux
import Glibc

/// What is wrong with an archive or a compressed stream, and at which entry.
public struct ArchiveError: Error, Hashable, Sendable {
    public enum Fault: Hashable, Sendable {
        /// The bytes break the format's rules, or rules that this module adds because readers would disagree.
        case invalid
        /// The bytes may be well formed, but exceed a limit.
        case tooLarge
        /// The `Reservation` refused the memory that reading on would take; a later attempt may succeed.
        case noMemory
        /// The operating system refused to read or write: an errno.
        case system(Int32)
        /// Whoever asked for the work said that it may stop.
        case cancelled
    }

    public let fault: Fault
    /// The entry's name as its header has it, where one is known.
    public let entry: [UInt8]?
    public let reason: String

    init(_ fault: Fault, _ reason: String, entry: [UInt8]? = nil) {
        self.fault = fault
        self.reason = reason
        self.entry = entry
    }

    static func invalid(_ reason: String, entry: [UInt8]? = nil) -> ArchiveError {
        ArchiveError(.invalid, reason, entry: entry)
    }

    /// An entry of a zip that a rule of the caller's refuses.
    package static func refused(_ reason: String, _ entry: ZipEntry) -> ArchiveError {
        .invalid(reason, entry: entry.name)
    }

    static let noMemory = ArchiveError(.noMemory, "there is no memory for it now: try again")

    static let cancelled = ArchiveError(.cancelled, "it was cancelled")

    static func system(_ code: Int32, _ action: String, entry: [UInt8]? = nil) -> ArchiveError {
        ArchiveError(.system(code), "\(action): \(String(cString: strerror(code)))", entry: entry)
    }

    package static func tooLarge(_ reason: String, entry: [UInt8]? = nil) -> ArchiveError {
        ArchiveError(.tooLarge, reason, entry: entry)
    }
}

extension ArchiveError: CustomStringConvertible {
    public var description: String {
        guard let entry else { return reason }
        return "entry '\(printableName(entry))': \(reason)"
    }
}

/// Asks whether a reader may hold `bytes` bytes in all from now on; called before it holds them.
///
/// - Returns: false if there is no memory for them; the reader then fails with `ArchiveError.Fault.noMemory`.
public typealias Reservation = @Sendable (_ bytes: Int) -> Bool

/// A name from an archive as text for logs and errors: backslashes and all but printable ASCII become `\xHH`.
///
/// - Parameter limit: how many bytes of the name are shown; what is cut off is marked by `…`.
public func printableName(_ name: some Collection<UInt8>, limit: Int = 256) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    for byte in name.prefix(limit) {
        if byte >= 0x20, byte < 0x7f, byte != UInt8(ascii: "\\") {
            text.append(byte)
        } else {
            text += [UInt8(ascii: "\\"), UInt8(ascii: "x"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
        }
    }
    return String(decoding: text, as: UTF8.self) + (name.count > limit ? "…" : "")
}
