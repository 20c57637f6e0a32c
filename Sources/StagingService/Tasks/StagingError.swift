package import Records

/// Why a task could not be taken, found or ended.
package enum StagingError: Error, Hashable, RecordFailure, CustomStringConvertible {
    case invalid(String)
    case unknown(guid: String)
    /// It has ended, and its guid can't be used again.
    case ended(guid: String)
    /// It has ended with another outcome than the one that is reported.
    case decided(guid: String)
    /// As many tasks wait as may.
    case tooMany
    case record(RecordError)

    package init(_ error: RecordError) { self = .record(error) }

    package var description: String {
        switch self {
        case .invalid(let reason): reason
        case .unknown(let guid): "there is no staging task \(guid)"
        case .ended(let guid): "the staging task \(guid) has ended already: another staging needs another guid"
        case .decided(let guid): "the staging task \(guid) has ended already, with another outcome"
        case .tooMany: "too many staging tasks wait: try again later"
        case .record: "the staging task's record can't be read or written"
        }
    }
}
