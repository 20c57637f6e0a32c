import Archive

/// Turns an archive into the tars of layers: reads entry after entry, asks the rules, and writes in canonical form.
///
/// A value without I/O: it pauses for input and for blocks to write into.
struct TarRewriter {
    /// Why `advance` stopped.
    enum Pause: Equatable {
        /// All input is taken, or what is left is too short to be a header: give more, or `end` it.
        case input
        /// This output needs an empty block.
        case block(Int)
        /// This output's block is full: take it.
        case full(Int)
        /// Everything is written. Blocks that are not full are still in the outputs.
        case done
    }

    private enum State {
        case reading
        /// Writing what each output ends with. `directories` are those of the current output that still need an entry,
        /// the next one last.
        case ending(output: Int, directories: [[UInt8]])
        case done
    }

    private let limits: ConversionLimits
    /// One for each group of the rules.
    private(set) var outputs: [LayerOutput] = []
    private(set) var rules: EntryRules
    private(set) var observer: RootfsObserver?

    private var reader: TarReader
    private var state = State.reading
    private var outputBytes: Int64 = 0
    private var holeBytes: Int64 = 0

    /// The index of the output that the current entry goes to.
    private var current = 0
    private var entryName: [UInt8] = []
    /// Whether the current entry is left out, with its content.
    private var isLeftOut = false
    /// Headers still to be written.
    private var pending: [UInt8] = []
    private var pendingPosition = 0
    /// Zeros still to be written.
    private var zeros: Int64 = 0
    /// Content of the current entry that is still to be written.
    private var contentLeft: Int64 = 0
    private var contentPadding = 0
    /// How many bytes at the window's position are content of the current entry.
    private var contentInWindow = 0

    /// - Parameter memory: the share from which everything that grows with the archive takes its memory. It must live
    ///   as long as this value and the observer's findings.
    init(
        policy: EntryPolicy, limits: ConversionLimits, replaced: ReplacedEntries, memory: ArchiveMemory.Share,
        observer: RootfsObserver? = nil
    ) {
        self.limits = limits
        self.observer = observer
        rules = EntryRules(policy: policy, limits: limits, replaced: replaced, memory: memory)
        reader = TarReader(limits: limits.reader, reserve: memory.reservation())
        addOutputs()
    }

    /// Bytes of tar written so far.
    var writtenBytes: Int64 { outputs.reduce(0) { $0 + $1.total } }

    mutating func give(_ block: consuming [UInt8], to output: Int) { outputs[output].give(block) }

    mutating func take(from output: Int) -> (bytes: [UInt8], count: Int) { outputs[output].take() }

    /// Rewrites until the caller has to do something.
    ///
    /// - Parameters:
    ///   - window: decompressed input.
    ///   - position: how many bytes of the window have been taken; moved on by those that this call takes.
    /// - Throws: `ConversionError` if the archive is refused.
    mutating func advance(_ window: Span<UInt8>, position: inout Int) throws(ConversionError) -> Pause {
        while true {
            if pendingPosition < pending.count || zeros > 0 || contentInWindow > 0 {
                if outputs[current].wantsBlock { return .block(current) }
                try write(window, &position)
                if outputs[current].isFull { return .full(current) }
                continue
            }
            switch state {
            case .reading: if try read(window, &position) { return .input }
            case .ending(let output, let directories): continueEnd(output, directories)
            case .done: return .done
            }
        }
    }

    /// Says that the input has ended. Call `advance` after it until it returns `done`.
    ///
    /// - Throws: `ConversionError` if the archive is not complete.
    mutating func end() throws(ConversionError) {
        do { try reader.finish() } catch { throw ConversionError(error) }
        guard rules.count > 0 || !rules.policy.needsEntries else {
            throw ConversionError(.invalid, "the archive has no entries")
        }
        state = .ending(output: 0, directories: rules.missingDirectories(0).reversed())
    }

    /// - Returns: whether more input is needed.
    private mutating func read(_ window: Span<UInt8>, _ position: inout Int) throws(ConversionError) -> Bool {
        var consumed = 0
        let event: TarReader.Event
        do {
            event = try reader.next(window.extracting(position..<window.count), consumed: &consumed)
        } catch {
            throw ConversionError(error)
        }
        position += consumed
        switch event {
        case .needsInput: return true
        case .entry(let entry): try begin(entry)
        case .content(let count) where isLeftOut: position += count
        case .content(let count): contentInWindow = count
        case .hole where isLeftOut: break
        case .hole(let length): try beginHole(length)
        }
        return false
    }

    private mutating func write(_ window: Span<UInt8>, _ position: inout Int) throws(ConversionError) {
        if pendingPosition < pending.count {
            let headers = pending
            pendingPosition += outputs[current].append(headers.span.extracting(pendingPosition..<headers.count))
        } else if zeros > 0 {
            zeros -= outputs[current].appendZeros(zeros)
        } else {
            let content = window.extracting(position..<position + contentInWindow)
            let count = outputs[current].append(content)
            observer?.content(content.extracting(0..<count))
            position += count
            contentInWindow -= count
            try takeContent(Int64(count))
        }
    }

    private mutating func takeContent(_ count: Int64) throws(ConversionError) {
        contentLeft -= count
        if contentLeft == 0 {
            zeros += Int64(contentPadding)
            try observer?.endContent()
        }
    }

    private mutating func beginHole(_ length: Int64) throws(ConversionError) {
        guard length <= limits.holeBytes - holeBytes else {
            throw ConversionError(.tooLarge, "the holes of sparse files are too large", entry: entryName)
        }
        holeBytes += length
        observer?.hole(length)
        zeros = length
        try takeContent(length)
    }

    private mutating func begin(_ original: TarEntry) throws(ConversionError) {
        entryName = original.name
        guard let placed = try rules.place(original) else {
            isLeftOut = true
            return
        }
        isLeftOut = false
        try observer?.entry(
            placed.entry, name: placed.name, target: rules.policy.archived(placed.entry.linkName))
        guard placed.entry.size <= limits.outputBytes - outputBytes else {
            throw ConversionError(.tooLarge, "the layers are larger than allowed", entry: entryName)
        }
        outputBytes += placed.entry.size
        addOutputs()
        select(placed.group)
        TarWriter.append(placed.entry, to: &pending)
        contentLeft = placed.entry.size
        contentPadding = TarWriter.padding(placed.entry.size)
    }

    private mutating func addOutputs() {
        while outputs.count < rules.groups.count { outputs.append(LayerOutput(group: rules.groups[outputs.count])) }
    }

    /// Makes an output the current one. One that is still empty first gets the directories above everything in it.
    private mutating func select(_ output: Int) {
        current = output
        // The buffer is reused, but not at the size that a rare large header needed.
        pending.removeAll(keepingCapacity: pending.capacity <= 64 << 10)
        pendingPosition = 0
        if outputs[output].total == 0 {
            for entry in rules.policy.preamble(outputs[output].group) { TarWriter.append(entry, to: &pending) }
        }
    }

    private mutating func continueEnd(_ output: Int, _ directories: [[UInt8]]) {
        addOutputs()
        guard output < outputs.count else {
            state = .done
            return
        }
        select(output)
        var directories = directories
        if let name = directories.popLast() {
            TarWriter.append(rules.missingDirectory(name), to: &pending)
            state = .ending(output: output, directories: directories)
        } else {
            pending += [UInt8](repeating: 0, count: TarWriter.endLength)
            let next = output + 1
            state = .ending(
                output: next, directories: next < outputs.count ? rules.missingDirectories(next).reversed() : [])
        }
    }
}
