import Layers
import Logging

extension ConversionNotes {
    /// Logs what a conversion left out or changed: totals, and a few examples of each.
    func log(to logger: Logger) {
        guard !isEmpty else { return }
        var metadata: Logger.Metadata = [:]
        for (kind, total) in totals { metadata[kind.rawValue] = "\(total)" }
        let shown = examples.prefix(5).map { note in
            "\(note.kind.rawValue): \(note.entry)\(note.detail.map { " (\($0))" } ?? "")"
        }
        metadata["examples"] = .array(shown.map { .string($0) })
        logger.info("the archive was changed while it was converted", metadata: metadata)
    }
}
