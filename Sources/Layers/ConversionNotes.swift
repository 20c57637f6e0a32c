internal import Archive

/// What a conversion left out or changed, for the log.
public struct ConversionNotes: Sendable, Hashable {
    public enum Kind: String, Hashable, Sendable, CaseIterable {
        case droppedSpecialBits = "dropped setuid or setgid bit"
        case droppedAttribute = "dropped extended attribute"
        case droppedRecord = "dropped unknown PAX record"
        case droppedNode = "dropped device, fifo, or link to one"
        case droppedRepeatedDirectory = "dropped repeated directory"
        case filledHoles = "wrote the holes of a sparse file as zeros"
        case addedParent = "added directories that had no entry"
    }

    public struct Note: Hashable, Sendable {
        public let kind: Kind
        /// Printable and of bounded length.
        public let entry: String
        /// The attribute's or record's name, printable.
        public let detail: String?
    }

    /// How many examples are kept.
    public static let maximumExamples = 50

    public private(set) var totals: [Kind: Int] = [:]
    /// The first ones, at most `maximumExamples`.
    public private(set) var examples: [Note] = []

    public var isEmpty: Bool { totals.isEmpty }

    mutating func add(_ kind: Kind, _ entry: some Collection<UInt8>, _ detail: String? = nil) {
        totals[kind, default: 0] += 1
        guard examples.count < Self.maximumExamples else { return }
        examples.append(
            Note(kind: kind, entry: printableName(entry), detail: detail.map { printableName($0.utf8, limit: 100) }))
    }
}
