import Archive

/// Why an archive was not converted. Errors of the input and of the sink are not wrapped in this one.
public struct ConversionError: Error, Hashable, Sendable {
    public enum Fault: Hashable, Sendable {
        /// The archive is broken, or against the written rules (Layers.docc).
        case invalid
        /// The archive goes over one of `ConversionLimits`.
        case tooLarge
        /// The archive is valid, but can't be converted with `LayerMode.split`: convert it again as `single`.
        case crossesLayers
        /// A droplet has several entries of one name, of which the last one counts: convert it again without those that
        /// `replacedEntries` finds. A root filesystem is refused.
        case repeatsNames
        /// The memory that all conversions share (`ArchiveMemory`) is used up: try again later.
        case noMemory
    }

    public let fault: Fault
    /// The name of the entry at fault, printable and of bounded length; nil where the fault is not in one entry.
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

    /// Whether the same droplet can be converted in another way.
    package var isRepairable: Bool { fault == .crossesLayers || fault == .repeatsNames }

    init(_ error: ArchiveError) {
        switch error.fault {
        case .invalid: fault = .invalid
        case .tooLarge: fault = .tooLarge
        case .noMemory: fault = .noMemory
        // Conversions read from memory: the system has no part in it.
        case .system, .cancelled: fault = .invalid
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
