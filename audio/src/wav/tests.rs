use super::*;

fn sine(rate: u32, i: u32) -> f64 {
    (std::f64::consts::TAU * 440.0 * f64::from(i) / f64::from(rate)).sin() * 0.5
}

fn make(path: &Path, rate: u32, bits: u16, format: SampleFormat, channels: u16) {
    let spec = WavSpec { channels, sample_rate: rate, bits_per_sample: bits, sample_format: format };
    let mut writer = WavWriter::create(path, spec).unwrap();
    for i in 0..rate / 5 {
        for channel in 0..channels {
            // All in the first channel: the mean must divide by the number of channels.
            let s = if channel == 0 { sine(rate, i) } else { 0.0 };
            match format {
                SampleFormat::Float => writer.write_sample(s as f32).unwrap(),
                SampleFormat::Int => {
                    writer.write_sample((s * ((1_i64 << (bits - 1)) - 1) as f64).round() as i32).unwrap();
                }
            }
        }
    }
    writer.finalize().unwrap();
}

fn read_all<R: Read + Seek>(source: &mut WavSource<R>) -> Vec<f32> {
    let (mut all, mut block) = (Vec::new(), crate::SILENCE);
    while source.read(&mut block) {
        all.extend_from_slice(&block);
    }
    all
}

#[test]
fn every_format_gives_the_same_sound() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.wav");
    for (rate, bits, format, channels) in [
        (48_000, 8, SampleFormat::Int, 1),
        (48_000, 16, SampleFormat::Int, 1),
        (48_000, 24, SampleFormat::Int, 2),
        (48_000, 32, SampleFormat::Int, 1),
        (48_000, 32, SampleFormat::Float, 1),
        (44_100, 16, SampleFormat::Int, 2),
        (8_000, 8, SampleFormat::Int, 1),
        (96_000, 24, SampleFormat::Int, 6),
        (22_050, 32, SampleFormat::Float, 3),
        (4_000, 16, SampleFormat::Int, 1),
        (384_000, 16, SampleFormat::Int, 1),
    ] {
        make(&path, rate, bits, format, channels);
        let case = format!("{rate} Hz {bits} bit {format:?} x{channels}");
        let mut source = WavSource::open(&path).unwrap();
        let heard = read_all(&mut source);
        assert_eq!(source.take_fault(), None, "{case}");
        assert_eq!(heard.len(), 20 * BLOCK, "{case}");
        for i in 1_000..8_600 {
            let want = sine(48_000, i) as f32 / f32::from(channels);
            assert!((heard[i as usize] - want).abs() < 0.02, "{case}: sample {i}");
        }
    }
}

#[test]
fn the_loudest_square_wave_stays_in_range_at_another_rate() {
    let square: Vec<u8> = (0..4_410).map(|n| if n / 50 % 2 == 0 { 255 } else { 0 }).collect();
    let mut bytes = std::io::Cursor::new(Vec::new());
    let spec =
        WavSpec { channels: 1, sample_rate: 44_100, bits_per_sample: 8, sample_format: SampleFormat::Int };
    let mut writer = WavWriter::new(&mut bytes, spec).unwrap();
    square.iter().for_each(|sample| writer.write_sample(i32::from(*sample) - 128).unwrap());
    writer.finalize().unwrap();
    let heard = read_all(&mut WavSource::new("square.wav", bytes).unwrap());
    assert_eq!(heard.len(), 10 * BLOCK);
    assert!(heard.iter().all(|sample| sample.abs() <= 1.0));
}

#[test]
fn a_file_cut_anywhere_is_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, cut) = (folder.path().join("whole.wav"), folder.path().join("cut.wav"));
    make(&whole, 8_000, 16, SampleFormat::Int, 1);
    let bytes = std::fs::read(&whole).unwrap();
    for length in (0..60).chain((60..bytes.len()).step_by(97)) {
        std::fs::write(&cut, &bytes[..length]).unwrap();
        let error = WavSource::open(&cut).err().unwrap().to_string();
        assert!(error.contains("cut.wav: ") && !error.contains('\n'), "{length}: {error}");
    }
}

#[test]
fn what_is_no_wav_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.wav");
    let error = |path: &Path| WavSource::open(path).err().unwrap().to_string();
    assert!(error(&path).contains("can't be opened"));
    assert!(error(folder.path()).contains("folder"));
    std::fs::write(&path, b"").unwrap();
    assert!(error(&path).contains("empty"));
    std::fs::write(&path, b"Once upon a time there was no header at all in this file.").unwrap();
    assert!(error(&path).contains("not a usable WAV file"));
    WavSink::create(&path).unwrap();
    assert!(error(&path).contains("no sound"));
    let spec =
        WavSpec { channels: 1, sample_rate: 1_000, bits_per_sample: 16, sample_format: SampleFormat::Int };
    WavWriter::create(&path, spec).unwrap().write_sample(1_i16).unwrap();
    assert!(error(&path).contains("1000 Hz is not supported"));
    assert!(WavSink::create(folder.path().join("no/such/folder.wav")).is_err());
}

#[test]
fn what_is_written_is_valid_before_it_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.wav");
    let mut sink = WavSink::create(&path).unwrap();
    for _ in 0..20 {
        sink.write(&[3.0; BLOCK]);
    }
    let mut reader = WavReader::open(&path).unwrap();
    assert_eq!(reader.duration() as usize, 20 * BLOCK);
    assert!(reader.samples::<i16>().all(|s| s.unwrap() == i16::MAX));
    assert_eq!(sink.take_fault(), None);
}

proptest::proptest! {
    #[test]
    fn a_spoilt_header_never_panics(changes in proptest::collection::vec((0_usize..64, 0_u8..), 1..8)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.wav");
        make(&path, 8_000, 16, SampleFormat::Int, 2);
        let mut bytes = std::fs::read(&path).unwrap();
        for (at, value) in changes {
            bytes[at] = value;
        }
        std::fs::write(&path, &bytes).unwrap();
        if let Ok(mut source) = WavSource::open(&path) {
            let mut block = crate::SILENCE;
            let mut blocks = 0;
            while source.read(&mut block) {
                blocks += 1;
                proptest::prop_assert!(blocks < 1_000);
            }
        }
    }
}

#[test]
fn a_stereo_file_has_each_side_and_a_mono_one_their_mean() {
    let folder = tempfile::tempdir().unwrap();
    let (stereo, mono) = (folder.path().join("stereo.wav"), folder.path().join("mono.wav"));
    let (left, right) = ([0.5; BLOCK], [-0.25; BLOCK]);
    let mut sink = WavSink::create_stereo(&stereo).unwrap();
    sink.write_stereo(&left, &right);
    sink.write(&left);
    sink.flush();
    let samples: Vec<i16> = WavReader::open(&stereo).unwrap().samples().map(Result::unwrap).collect();
    assert_eq!(samples.len(), 4 * BLOCK);
    assert!(samples[..2 * BLOCK].as_chunks().0.iter().all(|frame| *frame == [16_384, -8_192]));
    assert!(samples[2 * BLOCK..].iter().all(|sample| *sample == 16_384));
    let mut sink = WavSink::create(&mono).unwrap();
    sink.write_stereo(&left, &right);
    sink.flush();
    let samples: Vec<i16> = WavReader::open(&mono).unwrap().samples().map(Result::unwrap).collect();
    assert_eq!(samples, [4_096; BLOCK]);
}
