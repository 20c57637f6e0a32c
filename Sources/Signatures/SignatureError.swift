/// Why a key or a signature was not taken, in words for the person who gave it.
public enum SignatureError: Error, Hashable, Sendable {
    /// Neither of the forms that are known.
    case unreadable(String)
    /// Nothing could be signed.
    case signing(String)
    /// None of the trusted keys made it, or of something else.
    case untrusted(String)
}

extension SignatureError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .unreadable(let reason), .signing(let reason), .untrusted(let reason): reason
        }
    }
}
