extension Collection<UInt8> {
    /// The bytes of a text in UTF-8 without the byte order mark that editors on Windows write at its beginning (RFC 3629,
    /// section 6). Whatever people write by hand is read through this.
    package var withoutByteOrderMark: SubSequence {
        let mark: [UInt8] = [0xef, 0xbb, 0xbf]
        return starts(with: mark) ? dropFirst(mark.count) : self[...]
    }
}
