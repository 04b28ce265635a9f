//! What units share, and one unit after another.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;

use bayeslora_adapters::{Slot, derive_seed};
use bayeslora_models::{Backbone, Head, Tokenizer, target_slots};

use super::keys::{Arithmetic, Sources, is_computed_in, key_on_record};
use super::provenance;
use super::unit::{Origin, Unit};
use crate::error::{Error, Result};
use crate::experiment::{Plan, PlannedMethod};
use crate::scoring::distances::{Distances, distances};
use bayeslora_data::Progress;
use bayeslora_data::assets::{AssetDir, Assets, Event};
use bayeslora_data::tasks::{Example, Prompt, TaskData};
use bayeslora_host::memory;
use bayeslora_inference::{
    AdapterSettings, Budget, FitContext, Place, Predictor, QuestionReader, Reading, Resources, Sentences,
    check_samples, tokenizer_of,
};
use bayeslora_records::{Outcome, Provenance, SCHEMA, Store, UnitRecord};

/// A plan whose data and backbone are read: everything that units share.
pub(crate) struct OpenedPlan<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) store: Store,
    pub(crate) model: AssetDir,
    pub(crate) data: TaskData,
    pub(crate) backbone: Backbone,
    /// How the questions of the task are read, and the language head that scores their answers; none where texts have classes.
    questions: Option<(QuestionReader, Head)>,
    /// For activations that wait.
    budget: Budget,
    /// Adapted slots, by method.
    slots: BTreeMap<&'a str, Vec<Slot>>,
    pub(crate) progress: &'a dyn Progress,
}

/// The sentences of every split, with their prefix activations.
pub(crate) struct Splits {
    pub(crate) train: Sentences,
    pub(crate) validation: Sentences,
    pub(super) domains: Vec<Sentences>,
    /// Of every domain's sentences.
    pub(super) distances: Vec<Distances>,
}

impl<'a> OpenedPlan<'a> {
    pub(crate) fn open(
        plan: &'a Plan,
        store: Store,
        resources: &Resources,
        assets: &Assets,
        progress: &'a dyn Progress,
    ) -> Result<Self> {
        check_readings(plan, &resources.place)?;
        let mut tell = |event: Event| event.tell(progress);
        let refused = |problem: String| Error::Experiment { path: plan.path.clone(), problem };
        let open = |tell: &mut dyn FnMut(Event)| -> Result<(AssetDir, Backbone)> {
            let model = plan.model.open(assets, tell)?;
            let backbone = Backbone::load(model.path(), &resources.place)?;
            Ok((model, backbone))
        };
        // What cannot answer questions is refused before they are there.
        let asked = plan.task.answers().is_some().then(|| open(&mut tell)).transpose()?;
        if let Some((_, backbone)) = asked.as_ref().filter(|(_, backbone)| !backbone.is_causal()) {
            // A head of classes on the words of a question would be another task, and its numbers would look like this one's.
            let (task, model, kind) = (&plan.experiment.task, plan.model.name(), backbone.kind());
            let problem = format!(
                "task \"{task}\" asks which answer follows a question, and {model}, a {kind}, reads no next token; choose a decoder, or a task \
                 of classes, such as clinc150"
            );
            return Err(refused(problem));
        }
        let data = plan.task.load(assets, &mut tell)?;
        let (model, backbone) = asked.map_or_else(|| open(&mut tell), Ok)?;
        let (longest, positions) = (plan.experiment.max_tokens, backbone.longest_text());
        if longest > positions {
            let problem = format!("max-tokens is {longest}; {} reads texts of {positions} at most", plan.model.name());
            return Err(refused(problem));
        }
        let questions = if plan.task.answers().is_some() {
            let head = Head::language(&backbone, model.path())?;
            Some((QuestionReader::of_model(&backbone, model.path(), longest)?, head))
        } else {
            None
        };
        let budget = resources.room(&backbone, longest)?;
        let mut slots = BTreeMap::new();
        for method in &plan.methods {
            let unknown = |what: &str, error: bayeslora_models::Error| {
                refused(format!("adapter.{what} of method \"{}\": {error}", method.id))
            };
            let AdapterSettings { rank, target_blocks, target_maps, .. } = &method.adapter;
            let own =
                target_slots(&backbone, target_blocks, target_maps).map_err(|error| unknown("target-blocks", error))?;
            for &slot in &own {
                let (d_out, d_in) = backbone.slot_shape(slot).map_err(|error| unknown("target-maps", error))?;
                if *rank > d_out.min(d_in) {
                    return Err(bayeslora_adapters::Error::Rank { slot, got: *rank, d_out, d_in }.into());
                }
            }
            slots.insert(method.id.as_str(), own);
        }
        let opened = Self { plan, store, model, data, backbone, questions, budget, slots, progress };
        // Refused now, not after the texts that come first.
        opened.tokenizer()?;
        Ok(opened)
    }

    /// Every method at every seed, then the reference's at its further ones.
    pub(crate) fn units(&self) -> Vec<Unit<'a>> {
        let mut units = Vec::new();
        for &seed in &self.plan.seeds {
            for method in &self.plan.methods {
                units.push(Unit::new(self.plan, method, seed, self.sources()));
            }
        }
        let reference = &self.plan.methods[self.plan.reference.method];
        let further = self.plan.reference_seeds.iter();
        units.extend(further.map(|&seed| Unit::new(self.plan, reference, seed, self.sources())));
        units
    }

    /// Refuses to add to records of another precision or device: no page could show both.
    pub(crate) fn check_arithmetic(&self) -> Result<()> {
        let arithmetic = self.sources().arithmetic;
        let belongs = |unit: &UnitRecord| {
            let planned = self.plan.methods.iter().find(|planned| planned.id == unit.method);
            self.plan.fits(&unit.method, unit.seed)
                && unit.provenance.model_digest == self.model.digest()
                && planned.is_some_and(|method| key_on_record(self.plan, method, unit) == unit.key)
        };
        let mut units = self.store.units()?.into_iter().filter(belongs);
        units.find(|unit| !is_computed_in(unit, arithmetic)).map_or(Ok(()), |unit| {
            let problem = format!(
                "{} at seed {} was computed in another precision or on another class of device; run as before, or copy the experiment file \
                 into a folder of its own",
                unit.method, unit.seed
            );
            Err(Error::Store { path: self.store.folder().join("units"), problem })
        })
    }

    /// What every fit is made of.
    pub(crate) fn sources(&self) -> Sources<'_> {
        let place = self.backbone.place();
        let arithmetic = Arithmetic::new(place.precision.dtype(), &place.device);
        Sources { model: self.model.digest(), data: &self.data.digest, arithmetic }
    }

    pub(crate) fn tokenizer(&self) -> Result<Tokenizer> {
        Ok(tokenizer_of(&self.backbone, self.model.path(), self.plan.experiment.max_tokens)?)
    }

    fn slots(&self, method: &PlannedMethod) -> &[Slot] {
        self.slots.get(method.id.as_str()).map_or(&[], Vec::as_slice)
    }

    /// First adapted block of a method; everything below is frozen. With the pooler alone adapted it is the number of blocks.
    pub(crate) fn first_adapted(&self, method: &PlannedMethod) -> usize {
        self.slots(method).first().map_or(0, |slot| usize::from(slot.block))
    }

    /// First block that any method adapts.
    pub(crate) fn lowest(&self) -> usize {
        self.plan.methods.iter().map(|method| self.first_adapted(method)).min().unwrap_or(0)
    }

    /// Tells how much work lies ahead, before any of it: activations at `inputs` depths, then the units.
    pub(crate) fn announce(&self, missing: &[&Unit<'_>], inputs: usize) -> Result<()> {
        let tokenizer = self.tokenizer()?;
        let count = |examples: &[Example]| -> Result<u64> {
            let text =
                |example: &Example| example.prompt().map_or_else(|| example.text.clone(), |prompt| prompt.text());
            examples.iter().try_fold(0, |total, example| Ok(total + tokenizer.encode(&text(example))?.len() as u64))
        };
        let (train, validation) = (count(&self.data.train)?, count(&self.data.validation)?);
        // Of all examples, as many tokens as a fit sees of them.
        let trained_on = train * self.data.trained_on() as u64 / self.data.train.len().max(1) as u64;
        let mut tested = 0;
        for domain in &self.data.domains {
            tested += count(&domain.examples)?;
        }
        let mut work = (train + validation + tested) * inputs as u64;
        for unit in missing {
            work += unit.method.fit_work(trained_on, validation);
            let readings = unit.method.method.readings();
            let passes = readings.iter().map(|&reading| unit.method.passes(reading));
            work += (tested + validation) * passes.sum::<u64>();
            if readings == [Reading::Linearised] {
                // A pass that nothing else of the fit makes.
                work += tested;
            }
        }
        self.progress.expect(work);
        Ok(())
    }

    /// What computes the activations below block `from` of the examples of a split, numbered as its noise is.
    pub(crate) fn prefixes(&self, from: usize) -> Result<impl Fn(&[Example], u8) -> Result<Sentences>> {
        self.progress.stage("frozen prefix of every sentence");
        let tokenizer = self.tokenizer()?;
        Ok(move |examples: &[Example], split| {
            if let Some((reader, _)) = &self.questions {
                return self.read_questions(reader, examples, split, from);
            }
            Ok(Sentences::compute(&self.backbone, &tokenizer, examples, split, from, (&self.budget, self.progress))?)
        })
    }

    /// The questions of a split, whose classes are the places of their answers.
    fn read_questions(
        &self,
        reader: &QuestionReader,
        examples: &[Example],
        split: u8,
        from: usize,
    ) -> Result<Sentences> {
        let mut questions = Vec::new();
        for example in examples {
            let Some(Prompt { context, cue, answers }) = example.prompt() else { continue };
            questions.push(reader.cued(&context, &cue, &answers)?);
        }
        let labels = examples.iter().map(|example| example.label).collect::<Option<_>>().unwrap_or_default();
        let labels = (labels, self.data.classes.len());
        Ok(Sentences::of_choices(&self.backbone, questions, labels, split, from, (&self.budget, self.progress))?)
    }

    /// The language head that is shared by all fits, where answers are chosen among.
    pub(crate) fn language(&self) -> Option<&Head> {
        self.questions.as_ref().map(|(_, head)| head)
    }

    /// What predicts from the activations below block `from`, with samples of one of the unit's streams of noise.
    pub(crate) fn predictor(&self, unit: &Unit<'_>, from: usize, samples: u32, stream: u64) -> Predictor<'_> {
        let seed = derive_seed(unit.seed, stream);
        Predictor { backbone: &self.backbone, from, samples, seed, progress: self.progress }
    }

    /// The sentences of every split, with the activations below block `from`.
    pub(crate) fn splits(&self, from: usize) -> Result<Splits> {
        let compute = self.prefixes(from)?;
        let train = compute(&self.data.train, 0)?;
        let validation = compute(&self.data.validation, 1)?;
        let domains = (2..).zip(&self.data.domains).map(|(split, domain)| compute(&domain.examples, split));
        let domains: Vec<Sentences> = domains.collect::<Result<_>>()?;
        self.progress.stage("distances from the training texts");
        let distances = distances(&train, self.data.classes.len(), &domains)?;
        Ok(Splits { train, validation, domains, distances })
    }

    /// What fits of a seed train on, where that is a draw of their own from `train`, all the training texts.
    pub(crate) fn drawn(&self, seed: u64, train: &Sentences) -> Result<Option<Sentences>> {
        Ok(self.data.drawn(seed).map(|places| train.select(&places, &self.budget)).transpose()?)
    }

    /// What the fit of a unit may use.
    pub(crate) fn context<'b>(
        &'b self,
        unit: &'b Unit<'_>,
        (train, validation): (&'b Sentences, &'b Sentences),
        folder: &'b Path,
    ) -> FitContext<'b> {
        FitContext {
            backbone: &self.backbone,
            from: self.first_adapted(unit.method),
            slots: self.slots(unit.method),
            lora: unit.method.lora,
            train_head: unit.method.adapter.train_head,
            training: &unit.method.training,
            train,
            validation,
            classes: self.data.classes.len(),
            language: self.language(),
            seed: unit.seed,
            folder,
            progress: self.progress,
        }
    }

    /// One unit: fit or find the fit, predict, score; `jobs` are computed at a time.
    pub(crate) fn compute(&self, unit: &Unit<'_>, splits: &Splits, jobs: NonZeroUsize) -> Result<UnitRecord> {
        // The mark is the process's.
        let is_measured = jobs.get() == 1 && memory::reset_peak();
        let computed = self.fit(unit, splits).and_then(|(mut fitted, origin)| {
            let rows = self.predict(unit, &fitted, splits)?;
            if origin == Origin::New {
                fitted.record.peak_memory = is_measured.then(memory::peak).flatten();
                self.keep_fit(unit, &fitted)?;
            }
            Ok(Outcome::Finished { fit: fitted.record, rows })
        });
        let outcome = match computed {
            Err(error) if error.is_of_the_fit() => Outcome::Failed { reason: error.to_string() },
            other => other.map_err(|error| error.in_unit(unit.name()))?,
        };
        let provenance = provenance::current(self.backbone.place(), self.model.digest(), &self.data.digest);
        Ok(UnitRecord {
            schema: SCHEMA,
            key: unit.key.clone(),
            settings: Some(unit.settings.clone()),
            experiment: self.plan.experiment.name.clone(),
            profile: self.plan.profile.clone(),
            method: unit.method.id.clone(),
            seed: unit.seed,
            outcome,
            provenance: Provenance { jobs: u32::try_from(jobs.get()).unwrap_or(u32::MAX), ..provenance },
        })
    }
}

/// Refuses rows of samples where their spread would be of rounding as well.
fn check_readings(plan: &Plan, place: &Place) -> Result<()> {
    for row in plan.rows.iter().filter(|row| row.reading == Reading::Sampled) {
        check_samples(place, &format!("the samples of {}", row.label))?;
    }
    Ok(())
}
