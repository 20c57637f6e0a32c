import ObjectStore

/// The name of bytes that were written once: 32 random hexadecimal digits, never used again.
struct DataID: Hashable, Sendable {
    let text: String

    static func random() -> DataID {
        var generator = SystemRandomNumberGenerator()
        return DataID(text: (0..<2).map { _ in Self.hexadecimal(generator.next()) }.joined())
    }

    init?(parsing text: String) {
        guard text.utf8.count == 32, text.allSatisfy({ $0.isHexDigit && !$0.isUppercase }) else { return nil }
        self.text = text
    }

    private init(text: String) { self.text = text }

    func key() throws(ObjectStoreError) -> ObjectKey { try ObjectKey("data/\(text)") }

    private static func hexadecimal(_ number: UInt64) -> String {
        let text = String(number, radix: 16)
        return String(repeating: "0", count: 16 - text.utf8.count) + text
    }
}
