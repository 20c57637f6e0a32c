import Archive

/// Why an archive was not converted. What the input or the sink throws is passed on as it is, not in here.
public struct ConversionError: Error, Hashable, Sendable {
    public enum Fault: Hashable, Sendable {
        /// Broken, or against the written rules (Layers.docc).
        case invalid
        /// Over one of `ConversionLimits`.
        case tooLarge
        /// Good, but not for `LayerMode.split`: convert it again as `single`.
        case crossesLayers
        /// What all archives together may be remembered with is taken: try again later.
        case noMemory
    }

    public let fault: Fault
    /// The entry's name, printable and of bounded length, where the fault has one.
    public let entry: String?
    public let reason: String

    init(_ fault: Fault, _ reason: String, entry: some Collection<UInt8>) {
        self.fault = fault
        self.reason = reason
        self.entry = printableName(entry)
    }

    package init(_ fault: Fault, _ reason: String) {
        self.fault = fault
        self.reason = reason
        self.entry = nil
    }

    init(_ error: ArchiveError) {
        switch error.fault {
        case .invalid: fault = .invalid
        case .tooLarge: fault = .tooLarge
        case .noMemory: fault = .noMemory
        }
        reason = error.reason
        entry = error.entry.map { printableName($0) }
    }
}

extension ConversionError: CustomStringConvertible {
    public var description: String {
        guard let entry else { return reason }
        return "entry '\(entry)': \(reason)"
    }
}
