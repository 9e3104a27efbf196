use super::*;
use crate::rms;

fn tone(peak: f32) -> Block {
    std::array::from_fn(|i| peak * (std::f32::consts::TAU * 5.0 * i as f32 / BLOCK as f32).sin())
}

/// A strip whose gain is its volume alone.
fn plain(mixer: &mut Mixer) -> Strip {
    let mut strip = mixer.strip(None);
    strip.set_auto_level(false);
    strip
}

/// The last of so many blocks.
fn mixed_for(mixer: &mut Mixer, strips: &mut [(&mut Strip, f32)], blocks: usize) -> [Block; 2] {
    (1..blocks).for_each(|_| _ = mixed(mixer, strips));
    mixed(mixer, strips)
}

/// Mixes one block for each strip and gives both channels.
fn mixed(mixer: &mut Mixer, strips: &mut [(&mut Strip, f32)]) -> [Block; 2] {
    let mut out = [SILENCE; 2];
    for (strip, peak) in strips {
        mixer.mix(strip, &tone(*peak));
    }
    mixer.finish_stereo(&mut out);
    out
}

#[test]
fn one_talker_as_it_came_is_not_changed_by_a_bit() {
    for placing in [Placing::Mono, Placing::Spread] {
        let mut mixer = Mixer::new();
        mixer.set_placing(placing);
        let mut strip = plain(&mut mixer);
        strip.observe(&tone(0.01));
        assert_eq!(mixed(&mut mixer, &mut [(&mut strip, 0.7)]), [tone(0.7); 2], "{placing:?}");
        mixer.mix(&mut strip, &tone(0.7));
        let mut out = SILENCE;
        mixer.finish(&mut out);
        assert_eq!(out, tone(0.7), "{placing:?}");
    }
}

#[test]
fn volumes_and_mutes_are_each_talkers_own_and_come_without_a_click() {
    let mut mixer = Mixer::new();
    let (mut a, mut b) = (plain(&mut mixer), plain(&mut mixer));
    a.set_volume(2.0);
    b.set_volume(0.5);
    let [out, _] = mixed(&mut mixer, &mut [(&mut a, 0.2), (&mut b, 0.4)]);
    assert!(out.iter().zip(tone(0.6)).all(|(out, want)| (out - want).abs() < 1e-6));
    a.set_muted(true);
    let [fading, _] = mixed(&mut mixer, &mut [(&mut a, 0.2), (&mut b, 0.0)]);
    assert!(rms(&fading[..96]) > 0.2 && rms(&fading[384..]) < 0.05, "it goes over a block");
    let steps = fading.windows(2).map(|pair| (pair[1] - pair[0]).abs());
    assert!(steps.fold(0.0, f32::max) < 0.4 * 5.0 * core::f32::consts::TAU / BLOCK as f32 + 0.002);
    let [out, _] = mixed(&mut mixer, &mut [(&mut a, 0.2), (&mut b, 0.0)]);
    assert!(out.iter().all(|s| *s == 0.0));
    a.set_muted(false);
    a.set_volume(f32::NAN);
    mixed(&mut mixer, &mut [(&mut a, 0.2)]);
    let [out, _] = mixed(&mut mixer, &mut [(&mut a, 0.2)]);
    assert!((rms(&out) - rms(&tone(0.4))).abs() < 1e-6, "the volume is what it was");
}

#[test]
fn one_alone_is_in_the_middle_and_two_move_apart_in_a_second() {
    let mut mixer = Mixer::new();
    mixer.set_placing(Placing::Spread);
    let mut first = plain(&mut mixer);
    let [left, right] = mixed_for(&mut mixer, &mut [(&mut first, 0.3)], 200);
    assert_eq!(left, right);
    let second = plain(&mut mixer);
    let (mut before, mut most) = (rms(&left), 0.0_f32);
    for _ in 0..105 {
        let [left, _] = mixed(&mut mixer, &mut [(&mut first, 0.3)]);
        most = most.max((rms(&left) / before).log10().abs() * 20.0);
        before = rms(&left);
    }
    assert!(most < 0.1, "{most} dB in one block");
    let [left, right] = mixed(&mut mixer, &mut [(&mut first, 0.3)]);
    assert!(rms(&left) > rms(&right) * 1.5, "the first one went to the left");
    let power = rms(&left).powi(2) + rms(&right).powi(2);
    assert!((power / (2.0 * rms(&tone(0.3)).powi(2)) - 1.0).abs() < 1e-3, "with constant power");
    mixer.remove(second);
    let [left, right] = mixed_for(&mut mixer, &mut [(&mut first, 0.3)], 105);
    assert_eq!(left, right);
}

#[test]
fn seats_are_kept_and_given_again_and_spread_over_the_panorama() {
    let mut mixer = Mixer::new();
    let mut strips: Vec<Strip> = (0..MAX_TALKERS + 3).map(|_| mixer.strip(None)).collect();
    let seats: Vec<_> = strips.iter().map(|strip| strip.seat).collect();
    assert_eq!(seats[..3], [Some(0), Some(1), Some(2)]);
    assert_eq!(seats[MAX_TALKERS..], [None; 3]);
    mixer.remove(strips.remove(5));
    assert_eq!(mixer.strip(None).seat, Some(5));
    let mut places: Vec<f32> = (0..MAX_TALKERS as u32).map(place).collect();
    assert_eq!(places[..6], [-0.5, 0.5, -0.25, 0.25, -0.75, 0.75].map(|p| p * WIDEST));
    places.sort_by(f32::total_cmp);
    assert!(places.windows(2).all(|pair| pair[1] - pair[0] > 0.01), "no two in one place");
    assert!(places.iter().all(|place| place.abs() <= WIDEST));
}

#[test]
fn a_stereo_mix_folds_to_mono() {
    let mut mixer = Mixer::new();
    mixer.set_placing(Placing::Spread);
    let (mut a, mut b) = (plain(&mut mixer), plain(&mut mixer));
    mixed_for(&mut mixer, &mut [(&mut a, 0.0), (&mut b, 0.0)], 110);
    let [left, right] = mixed_for(&mut mixer, &mut [(&mut a, 0.3), (&mut b, 0.1)], 2);
    mixer.mix(&mut a, &tone(0.3));
    mixer.mix(&mut b, &tone(0.1));
    let mut folded = SILENCE;
    mixer.finish(&mut folded);
    for ((left, right), folded) in left.iter().zip(&right).zip(&folded) {
        assert!(((left + right) / 2.0 - folded).abs() < 1e-6);
    }
}
