public import Archive

extension CompressionFormat {
    /// As settings and records call it.
    public var name: String {
        switch self {
        case .none: "none"
        case .gzip: "gzip"
        case .zstd: "zstd"
        }
    }

    public init?(name: String) {
        guard let format = [CompressionFormat.none, .gzip, .zstd].first(where: { $0.name == name }) else { return nil }
        self = format
    }
}
